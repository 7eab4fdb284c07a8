"""Keeps bulk from starving behind interactive texts. Counts seconds, knows no texts."""

from __future__ import annotations

# What bulk had beyond its share counts for so long, in seconds of it.
_REMEMBERED = 0.5


class BulkShare:
    """What interactive texts owe to bulk."""

    def __init__(self, share: float) -> None:
        """Begin level.

        Args:
            share: Part of the time that bulk gets while both wait, at least 0 and below 1.
        """
        self._rate = share / (1 - share)
        self._owed = 0.0

    @property
    def due(self) -> bool:
        """Whether bulk goes first now."""
        return self._owed > 0

    def interactive_ran(self, seconds: float, *, bulk_waits: bool) -> None:
        """Note interactive work; bulk that does not wait is owed nothing."""
        self._owed = self._owed + self._rate * seconds if bulk_waits else min(self._owed, 0.0)

    def bulk_ran(self, seconds: float) -> None:
        """Note bulk work, also such that nobody interactive waited for."""
        self._owed = max(self._owed - seconds, -_REMEMBERED)
