"""Calls that outlive a broken connection and a server that is busy or starts anew."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Generic, TypeVar, cast

from isogloss.errors import Aborted, Cancelled, IsoglossError, Unavailable
from isogloss.transport import Transport

Q = TypeVar("Q")
T = TypeVar("T")

MAX_RETRIES = 12
"""In a row, without anything new in between: 0.5 + 1 + 2 + 4 + 8 x 5 s, 24 to 48 s. A server or a
store that is replaced is back by then."""

MAX_PAUSE = 60.0
"""Seconds; who is told to come back later than that is told so himself."""


def delays() -> Iterator[float]:
    """Give the seconds to wait before each next try: doubling from 0.5 to 5, half of it random."""
    for retry in range(MAX_RETRIES):
        longest = min(0.5 * 2**retry, 5.0)
        yield longest * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, guards nothing)


def broken(error: IsoglossError) -> bool:
    """Tell whether the connection broke, or a server that stops let go of it."""
    return isinstance(error, Unavailable | Cancelled)


def passing(error: IsoglossError) -> bool:
    """Tell whether the same call may succeed in a moment."""
    return broken(error) or isinstance(error, Aborted) or error.retry_after is not None


def pause(error: IsoglossError, waits: Iterator[float]) -> float:
    """Give the seconds to wait before the next try.

    Raises:
        IsoglossError: The given one, where patience ends or a wait is asked for that is too long.
    """
    wait = max(next(waits, MAX_PAUSE + 1), error.retry_after or 0.0)
    if wait > MAX_PAUSE:
        raise error
    return wait


async def repeated(transport: Transport, call: Callable[[], Awaitable[T]]) -> T:
    """Call, again where that may help, and return the answer.

    Raises:
        IsoglossError: Calling again cannot mend it, or did not for too long.
    """
    waits = delays()
    while True:
        try:
            return await call()
        except IsoglossError as error:
            if not passing(error):
                raise
            wait = pause(error, waits)
        await transport.sleep(wait)


class Outgoing(Generic[Q]):
    """The messages of one stream; keeps what making them raised, for gRPC swallows it."""

    def __init__(self, messages: Iterable[Q]) -> None:
        """Take what makes them."""
        self._messages = messages
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[Q]:
        """Give them."""
        try:
            yield from self._messages
        except Exception as error:
            self.failure = error
            raise


async def watched(
    transport: Transport, open_stream: Callable[[], AsyncIterator[T]], final: Callable[[T], bool]
) -> AsyncGenerator[T]:
    """Give what a stream sends, opening it again where it breaks, until it ends for good.

    Args:
        transport: Does the waiting.
        open_stream: Opens the stream; reads for itself where to go on.
        final: Whether nothing can come after an item that the stream ended with.

    Raises:
        IsoglossError: The first try failed, or one that opening it again cannot mend, or too
            many in a row.
    """
    waits = delays()
    last: T | None = None
    while True:
        failure: IsoglossError = Unavailable("The server ended the stream too early, repeatedly.")
        try:
            async with aclosing(cast("AsyncGenerator[T]", open_stream())) as items:
                async for item in items:
                    last, waits = item, delays()
                    yield item
            if last is not None and final(last):
                return
        except IsoglossError as error:
            if last is None or not broken(error):
                raise
            failure = error
        wait = next(waits, None)
        if wait is None:
            raise failure
        await transport.sleep(wait)
