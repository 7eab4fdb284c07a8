"""What calls of the service have in common: how many run at once, and work that they stop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from services.common.errors import ResourceExhausted, Unavailable
from services.common.names import Collection, parse
from services.ingest.cancellation import Cancellation
from services.ingest.workbench import DiskFailed

_RETRY_SECONDS = 1.0

T = TypeVar("T")


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


class Turns:
    """A number of calls that work at the same time; others wait, as it never takes long."""

    def __init__(self, limit: int) -> None:
        """Begin with all of them free."""
        self._free = asyncio.Semaphore(limit)

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a thread when it is its turn, which lasts until it is done."""
        async with self._free:
            return await run_stoppable(lambda _: work())


@contextmanager
def on_scratch() -> Iterator[None]:
    """Tell a disk that fails from a fault of the program: the caller may try again.

    Raises:
        Unavailable: Where the scratch directory cannot be written or read.
    """
    try:
        yield
    except (OSError, DiskFailed) as error:
        raise Unavailable(
            "The scratch directory of this server does not work, or is full: try again, or ask "
            "its operator to see that it has five times the files' size free.",
            metadata={"dependency": "scratch"},
            retry_after=_RETRY_SECONDS,
        ) from error


async def run_stoppable(work: Callable[[Cancellation], T]) -> T:
    """Run `work` in a thread; where the call ends before it, stop it and wait until it has.

    What a call has taken (a slot, a scratch directory) is so never given back too early.
    """
    cancellation = Cancellation()
    running = asyncio.ensure_future(asyncio.to_thread(work, cancellation))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        cancellation.cancel()
        await asyncio.wait({running})
        # Looked at, so that nobody warns of it: the call has ended, whatever came of the work.
        running.exception()
        raise


def dataset_id(name: str, *, field: str = "name") -> str:
    """Return the id in the full name of a dataset.

    Raises:
        InvalidArgument: Where it is no such name.
    """
    return parse(name, Collection.DATASETS, field=field).id
