"""What the client tells of an inference server: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from isogloss.models import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What a server takes."""

    max_texts: int
    """Texts in a call."""

    max_text_bytes: int
    max_message_bytes: int
    queue_tokens: int
    """Tokens of all texts that may wait."""

    queue_bytes: int
    model_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentModel:
    """A model in a server's memory."""

    model: str
    precision: Precision
    digest: str
    size_bytes: int
    load_time: datetime | None
    last_use_time: datetime | None
    call_count: int
    """Calls that found it loaded."""

    preloaded: bool
    """Whether an alias keeps it loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Texts that wait."""

    text_count: int
    token_count: int
    work: float
    """What they are expected to take one worker, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One inference server at one moment: the one that answered, of however many there are."""

    version: str
    start_time: datetime | None
    device: str
    """`cpu` or `cuda`."""

    engine_count: int
    """Processes that compute; 0 where models run in the one that answers calls."""

    worker_count: int
    """Batches of texts that are computed at the same time."""

    busy_worker_count: int
    threads_per_run: int
    limits: ServerLimits
    models: tuple[ResidentModel, ...]
    """Those in its memory that the caller may use, those used last first."""

    model_count: int
    """Of all callers."""

    model_bytes: int
    loading_count: int
    """Models that are being looked for or loaded."""

    interactive: Backlog
    bulk: Backlog
    store_reachable: bool
    store_outage: float | None
    """Seconds for which the object store has not answered; None where it does."""
