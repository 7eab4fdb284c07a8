"""What calls of the service have in common: turns that they take, and work that they stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from services.common.errors import Unavailable
from services.common.names import Collection, parse
from services.ingest.cancellation import Cancellation
from services.ingest.workbench import DiskFailed

_RETRY_SECONDS = 1.0

T = TypeVar("T")


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
