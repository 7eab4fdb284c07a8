"""Watching and sending that outlive a broken connection."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import TypeVar, cast

from isogloss.errors import Cancelled, IsoglossError, Unavailable
from isogloss.transport import Transport

T = TypeVar("T")

MAX_RETRIES = 7
"""In a row, without anything new in between: 0.5 + 1 + 2 + 4 + 3 x 5 s, at most 22.5 s."""


def delays() -> Iterator[float]:
    """Give the seconds to wait before each next try: doubling from 0.5 to 5, half of it random."""
    for retry in range(MAX_RETRIES):
        longest = min(0.5 * 2**retry, 5.0)
        yield longest * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, guards nothing)


def broken(error: IsoglossError) -> bool:
    """Tell whether the connection broke, or a server that stops let go of it."""
    return isinstance(error, Unavailable | Cancelled)


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
