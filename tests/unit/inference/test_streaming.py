from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.streaming import Bounds, in_flight

WIDE = Bounds(requests=100, texts=100)


class Work:
    """Requests are numbers; each is answered by its double when the test lets it."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.cancelled: list[int] = []
        self.gates: dict[int, asyncio.Event] = {}

    async def answer(self, request: int) -> int:
        self.started.append(request)
        self.gates[request] = asyncio.Event()
        try:
            await self.gates[request].wait()
        except asyncio.CancelledError:
            self.cancelled.append(request)
            raise
        return request * 2

    def finish(self, request: int) -> None:
        self.gates[request].set()


async def numbers(*items: int) -> AsyncIterator[int]:
    for item in items:
        yield item


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def weight(request: int) -> int:
    return request


async def test_answers_come_as_they_are_ready() -> None:
    work = Work()
    answers = in_flight(numbers(1, 2, 3), work.answer, texts=weight, bounds=WIDE)
    first = asyncio.ensure_future(anext(answers))
    await settled()

    for request in (3, 1, 2):
        work.finish(request)
        await settled()

    assert [await first, *[answer async for answer in answers]] == [6, 2, 4]


@pytest.mark.parametrize(
    ("bounds", "started"),
    [(Bounds(requests=2, texts=100), [5, 4]), (Bounds(requests=100, texts=8), [5, 4])],
)
async def test_nothing_is_read_while_enough_is_under_way(
    bounds: Bounds, started: list[int]
) -> None:
    work = Work()
    answers = in_flight(numbers(5, 4, 3), work.answer, texts=weight, bounds=bounds)
    async with aclosing(answers):
        first = asyncio.ensure_future(anext(answers))
        await settled()
        assert work.started == started

        work.finish(5)
        assert await first == 10
        second = asyncio.ensure_future(anext(answers))
        await settled()
        assert work.started == [5, 4, 3]
        work.finish(4)
        assert await second == 8


async def test_nothing_is_read_while_nobody_takes_the_answers() -> None:
    work, read = Work(), list[int]()

    async def source() -> AsyncIterator[int]:
        for item in range(1, 1000):
            read.append(item)
            yield item

    answers = in_flight(source(), work.answer, texts=weight, bounds=WIDE)
    async with aclosing(answers):
        first = asyncio.ensure_future(anext(answers))
        await settled()
        work.finish(1)
        await first
        seen = len(read)
        await settled()
        assert len(read) == seen


async def test_what_nobody_waits_for_is_cancelled() -> None:
    work = Work()
    answers = in_flight(numbers(1, 2, 3), work.answer, texts=weight, bounds=WIDE)
    async with aclosing(answers):
        first = asyncio.ensure_future(anext(answers))
        await settled()
        work.finish(2)
        await first

    assert sorted(work.cancelled) == [1, 3]


async def test_a_fault_of_the_one_who_answers_ends_the_stream() -> None:
    async def fail(request: int) -> int:
        raise ZeroDivisionError(request)

    with pytest.raises(ZeroDivisionError):
        async for _ in in_flight(numbers(1), fail, texts=weight, bounds=WIDE):
            pass


@given(
    requests=st.lists(st.integers(0, 5), max_size=40),
    bounds=st.builds(Bounds, requests=st.integers(1, 9), texts=st.integers(1, 9)),
)
@settings(deadline=None)  # no timing decides a test
def test_every_request_is_answered_once_whatever_the_bounds(
    requests: list[int], bounds: Bounds
) -> None:
    most = 0
    under_way: list[int] = []

    async def answer(request: int) -> int:
        nonlocal most
        under_way.append(request)
        most = max(most, len(under_way))
        # What began holds less than the bound before it.
        assert sum(under_way) - request < bounds.texts
        await asyncio.sleep(0)
        under_way.remove(request)
        return request

    async def run() -> list[int]:
        answers = in_flight(numbers(*requests), answer, texts=weight, bounds=bounds)
        return [found async for found in answers]

    assert sorted(asyncio.run(run())) == sorted(requests)
    assert most <= bounds.requests
