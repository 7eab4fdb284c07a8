"""Whose aliases to look at now: of thousands of tenants, those where something may have changed.

Knows marks and tenants, not what an alias stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.common import aliases
from services.common.storage import ObjectStore

# A mark comes before the change, mostly by milliseconds: the tenant is looked at again after
# 1, 2, 4, ... seconds. Who writes gives up long before the last.
_FIRST_SECONDS = 1.0
_LAST_SECONDS = 64.0

# A tenant in so many seconds is looked at without a mark, in turns: what no mark told, such as
# keys that were copied here, is found too. It takes three requests.
_SWEEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    at: float
    pause: float
    """Until the turn after it, in seconds."""


class AliasWatch:
    """Keeps in mind which tenants are due."""

    def __init__(self, store: ObjectStore, clock: Callable[[], float]) -> None:
        """Know no tenant yet."""
        self._store = store
        self._clock = clock
        self._marks: dict[str, frozenset[str]] = {}
        self._turns: dict[str, _Turn] = {}
        self._sweep: Iterator[str] = iter(())
        self._sweep_at = clock()

    def due(self) -> list[str]:
        """Return the tenants to look at now; one listing, where nothing changed.

        Raises:
            Unavailable: Where the store does not answer.
        """
        marks = aliases.marks(self._store)
        for tenant, stamps in marks.items():
            if stamps != self._marks.get(tenant):
                self.again(tenant)
        self._marks = marks
        now = self._clock()
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            self._take_next()
        return [tenant for tenant, turn in self._turns.items() if turn.at <= now]

    def looked(self, tenant: str) -> None:
        """Note that a tenant was looked at; a look before its turn takes none of its turns."""
        turn, now = self._turns.get(tenant), self._clock()
        if turn is None or turn.at > now:
            return
        del self._turns[tenant]
        if turn.pause <= _LAST_SECONDS:
            self._turns[tenant] = _Turn(at=now + turn.pause, pause=2 * turn.pause)

    def again(self, tenant: str) -> None:
        """Look at a tenant at once, and several times after that."""
        self._turns[tenant] = _Turn(at=self._clock(), pause=_FIRST_SECONDS)

    def _take_next(self) -> None:
        tenant = next(self._sweep, None)
        if tenant is None:
            self._sweep = aliases.tenants(self._store)
            tenant = next(self._sweep, None)
        if tenant is not None:
            # Once: where it has a turn already, that one comes first.
            self._turns.setdefault(tenant, _Turn(at=self._clock(), pause=2 * _LAST_SECONDS))
