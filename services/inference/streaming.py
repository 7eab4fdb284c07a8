"""Many requests on one stream: bounded, each answered as soon as it is ready.

Knows neither gRPC nor what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

Q = TypeVar("Q")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of one stream may be under way."""

    requests: int
    """From this many on nothing more is read."""

    texts: int
    """The same for the texts in them."""


async def in_flight(
    requests: AsyncIterator[Q],
    answer: Callable[[Q], Coroutine[Any, Any, R]],
    *,
    texts: Callable[[Q], int],
    bounds: Bounds,
) -> AsyncGenerator[R, None]:
    """Answer requests at the same time, and give the answers in the order in which they come.

    Nothing is read while as much is under way as may be, nor while nobody takes the answers: who
    sends is held up then. Where the answers are no longer wanted, what is under way is cancelled.

    Args:
        requests: Read one at a time.
        answer: Answers one; what it raises ends the stream.
        texts: Counts the texts of one.
        bounds: How much may be under way.
    """
    ended: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    under_way: dict[asyncio.Task[Any], int] = {}
    reading: asyncio.Task[Any] | None = _start(_next(requests), ended)
    more = True
    try:
        while reading is not None or under_way:
            task = await ended.get()
            if task is reading:
                reading = None
                request = task.result()
                more = request is not _END
                if more:
                    under_way[_start(answer(request), ended)] = texts(request)
            else:
                del under_way[task]
                yield task.result()
            if more and reading is None and _room(under_way, bounds):
                reading = _start(_next(requests), ended)
    finally:
        left = [*under_way, *([reading] if reading else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


_END = object()


async def _next(requests: AsyncIterator[Any]) -> Any:  # noqa: ANN401 (a request or the end)
    return await anext(requests, _END)


def _start(
    work: Coroutine[Any, Any, Any], ended: asyncio.Queue[asyncio.Task[Any]]
) -> asyncio.Task[Any]:
    task = asyncio.create_task(work)
    task.add_done_callback(ended.put_nowait)
    return task


def _room(under_way: dict[asyncio.Task[Any], int], bounds: Bounds) -> bool:
    return len(under_way) < bounds.requests and sum(under_way.values()) < bounds.texts
