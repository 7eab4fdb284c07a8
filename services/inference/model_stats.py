"""What there is to tell of the models in memory, at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from services.inference.residents import ModelKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentModel:
    """What is told of a model in memory."""

    key: ModelKey
    digest: str
    """sha256 of its graph."""

    size: int
    """Bytes of memory: as measured, with an estimate for the tokenizer."""

    resident_seconds: float
    """Since it was loaded."""

    idle_seconds: float
    """Since a call last took it."""

    calls: int
    """That took it since it was loaded."""

    pinned: bool
    """Whether an alias preloads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsStats:
    """What is told of all models; counts are since the start."""

    residents: tuple[ResidentModel, ...]
    """Those used longest ago first."""

    size: int
    """Bytes of all together."""

    max_size: int
    loading: int
    """Loads and looks that are under way."""

    hits: int
    """Calls whose model was in memory."""

    misses: int
    """Calls that had to wait for a look or a load."""

    loads: int
    evictions: int
    """Models that went to make room."""

    failures: int
    """Models that could not be opened."""

    outage_seconds: float | None
    """How long the store has been down; None where it answers."""
