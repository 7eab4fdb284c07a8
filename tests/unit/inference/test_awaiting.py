from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from services.inference.awaiting import Answers
from services.inference.dispatcher import Call


def asked(future: Future[int], left: list[Future[int]] | None = None) -> Call[int]:
    return Call(future=future, give_up=lambda: (left if left is not None else []).append(future))


async def test_all_that_came_together_is_brought_with_one_wake_up() -> None:
    answers = Answers()
    futures: list[Future[int]] = [Future() for _ in range(50)]
    waiting = [asyncio.ensure_future(answers.of(asked(future))) for future in futures]
    await asyncio.sleep(0)
    loop, woken = asyncio.get_running_loop(), 0
    wake = loop.call_soon_threadsafe

    def counted(callback: Callable[[], None]) -> asyncio.Handle:
        nonlocal woken
        woken += 1
        return wake(callback)

    loop.call_soon_threadsafe = counted  # type: ignore[method-assign,assignment] # a loop of this test alone

    def work() -> None:
        for number, future in enumerate(futures):
            future.set_result(number)
        answers.wake()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert woken == 1
    assert await asyncio.gather(*waiting) == list(range(50))


async def test_what_is_ready_before_anybody_waits_is_brought() -> None:
    answers = Answers()
    future: Future[int] = Future()
    future.set_result(1)
    answers.wake()

    assert await answers.of(asked(future)) == 1


async def test_an_error_is_raised_where_somebody_waits() -> None:
    answers = Answers()
    future: Future[int] = Future()
    waiting = asyncio.ensure_future(answers.of(asked(future)))
    await asyncio.sleep(0)
    future.set_exception(ValueError("broken"))
    answers.wake()

    with pytest.raises(ValueError, match="broken"):
        await waiting


async def test_a_waiter_that_is_cancelled_gives_its_call_up() -> None:
    answers = Answers()
    future: Future[int] = Future()
    left: list[Future[int]] = []
    waiting = asyncio.ensure_future(answers.of(asked(future, left)))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    future.set_result(1)
    answers.wake()
    await asyncio.sleep(0)
    assert left == [future]


async def test_no_answer_is_missed_whoever_sets_it_and_when() -> None:
    answers = Answers()
    futures: list[Future[int]] = [Future() for _ in range(2_000)]

    def work(start: int) -> None:
        for number in range(start, len(futures), 4):
            futures[number].set_result(number)
            if number % 3:
                answers.wake()
        answers.wake()

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(30):
        found = await asyncio.gather(*[answers.of(asked(future)) for future in futures])
    for thread in threads:
        thread.join()

    assert found == list(range(2_000))
