"""Whose turn it is: of those who wait, the one who had least. Knows no work."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# Of those who left and may come back, this many more than wait are remembered before those
# whose past no longer matters are forgotten.
_REMEMBERED = 64


class Turns(Generic[K]):
    """Fair queueing by virtual time: all who wait get the same, whatever each turn costs.

    Who comes starts level with the one whose turn it was last: not with what others had before,
    which would shut them out until it caught up; and not below what it had itself, so that
    leaving and coming back gains nothing.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self._had: dict[K, float] = {}
        self._waiting: dict[K, None] = {}
        self._level = 0.0

    def join(self, key: K) -> None:
        """Let somebody wait who did not, or who did already."""
        if key not in self._waiting:
            self._waiting[key] = None
            self._had[key] = max(self._had.get(key, 0.0), self._level)

    def leave(self, key: K) -> None:
        """Let somebody wait no more."""
        del self._waiting[key]
        if not self._waiting:
            self._had.clear()
            self._level = 0.0
        elif len(self._had) > 2 * len(self._waiting) + _REMEMBERED:
            for other in [key for key in self._had if key not in self._waiting]:
                if self._had[other] <= self._level:
                    del self._had[other]

    def first(self, can: Callable[[K], bool]) -> K | None:
        """Return whose turn it is of those who `can`; of equals who came first."""
        return min(filter(can, self._waiting), key=self._had.__getitem__, default=None)

    def take(self, key: K) -> None:
        """Note that it is the turn of `key`."""
        self._level = max(self._level, self._had[key])

    def charge(self, key: K, seconds: float) -> None:
        """Note what somebody got; who has left and is forgotten may come back without it."""
        if key in self._had:
            self._had[key] += seconds
