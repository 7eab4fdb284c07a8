"""What the scheduler has counted since it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, auto

from services.inference.scheduling.priority import Priority


class Shed(StrEnum):
    """Why a call was not computed."""

    QUEUE_FULL = auto()
    """Refused at once: too much was waiting."""

    TIME_TOO_SHORT = auto()
    """Refused at once: its time would not have sufficed."""

    EXPIRED = auto()
    """Its time was over before all of it was computed."""

    GIVEN_UP = auto()
    """Its caller went away before all of it was computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits now."""

    texts: int
    tokens: int
    """Estimated from characters where texts are not read yet."""

    seconds: float
    """What it is expected to take one worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerStats:
    """One look at the scheduler."""

    waiting: Mapping[Priority, Waiting]
    waiting_bytes: int
    """Memory of texts that are not read yet."""

    running: int
    """Workers that have work."""

    calls: int
    """Calls that were taken."""

    shed: Mapping[Shed, int]
    """Calls that were not computed, by reason."""

    batches: int
    """Batches that ran."""

    texts: int
    """Texts in them."""

    tokens: int
    """Tokens of these texts."""

    padded_tokens: int
    """Tokens that were computed for them."""

    predicted_seconds: float
    """What the batches were expected to take."""

    measured_seconds: float
    """What they took."""
