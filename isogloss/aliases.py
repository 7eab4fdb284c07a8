"""What the client tells of aliases: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name that moves: it stands for one model at a time, wherever a model may be named."""

    name: str
    """Full resource name, `aliases/{alias}`."""

    model: str
    """What it stands for, `models/{model}`."""

    preload: bool
    """Whether every inference server loads the model ahead."""

    version: int
    """Number of the current version, from 1; what `expected_version` is compared with."""

    actor: str
    """Who set it last."""

    update_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasVersion:
    """What an alias stood for from one switch to the next."""

    name: str
    """Full resource name, `aliases/{alias}/versions/{version}`."""

    version: int
    model: str
    """Empty: the alias was deleted."""

    previous_model: str
    """Empty where the alias did not exist before."""

    preload: bool
    restored_version: int
    """The version that this one brought back; 0 where it is no rollback."""

    actor: str
    create_time: datetime | None
