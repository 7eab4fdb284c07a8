"""How many calls of one kind run at once, and that no tenant takes all places. Knows no call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from services.common.errors import ResourceExhausted

_RETRY_SECONDS = 1.0


class Slots:
    """A number of calls that may run at the same time. For the event loop's thread only.

    Where there are several, no tenant takes the last one: slow callers of one tenant would keep
    all others out.
    """

    def __init__(self, limit: int, *, what: str) -> None:
        """Begin with all of them free.

        Args:
            limit: How many.
            what: What the calls do, in words, such as `uploads`.
        """
        self._limit = limit
        self._what = what
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, tenant: str) -> Iterator[None]:
        """Take one for a tenant while the block runs.

        Raises:
            ResourceExhausted: Where none is free, or this tenant has all but one.
        """
        total, own = self._taken.total(), self._taken[tenant]
        if total >= self._limit or own >= max(self._limit - 1, 1):
            whose = "" if total >= self._limit else " of yours"
            count = total if total >= self._limit else own
            raise ResourceExhausted(
                f"{count} {self._what}{whose} are in progress here, as many as are taken at "
                "once: try again in a second.",
                metadata={"limit": str(count)},
                retry_after=_RETRY_SECONDS,
            )
        self._taken[tenant] += 1
        try:
            yield
        finally:
            self._taken[tenant] -= 1
            if not self._taken[tenant]:
                del self._taken[tenant]
