"""Who goes first."""

from __future__ import annotations

from enum import StrEnum, auto


class Priority(StrEnum):
    """Whose texts go first where both wait."""

    INTERACTIVE = auto()
    """Somebody waits for the answer."""

    BULK = auto()
    """Many texts, of which the last one counts."""
