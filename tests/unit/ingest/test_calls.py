from __future__ import annotations

import asyncio
from functools import partial
from queue import Queue
from threading import Event

import pytest

from services.common.errors import Unavailable
from services.ingest.calls import Turns, on_scratch, run_stoppable
from services.ingest.cancellation import Cancellation, Cancelled


async def test_calls_wait_for_their_turn_even_where_one_before_was_left() -> None:
    turns = Turns(2)
    began: Queue[int] = Queue()
    go_on = Event()

    def work(number: int) -> int:
        began.put(number)
        go_on.wait(60)
        return number

    calls = [asyncio.create_task(turns.run(partial(work, number))) for number in range(5)]
    first = {await asyncio.to_thread(began.get) for _ in range(2)}
    calls[0].cancel()
    await asyncio.sleep(0.05)

    assert first == {0, 1}
    assert began.empty()
    go_on.set()
    assert await asyncio.gather(*calls[1:]) == [1, 2, 3, 4]


async def test_work_answers_or_raises_as_it_would_without_a_thread() -> None:
    def fail(cancellation: Cancellation) -> None:
        assert not cancellation.is_cancelled
        raise KeyError

    assert await run_stoppable(lambda _: 5) == 5
    with pytest.raises(KeyError):
        await run_stoppable(fail)


async def test_a_call_that_ends_stops_its_work_and_waits_for_it() -> None:
    began, ended = Event(), Event()

    def work(cancellation: Cancellation) -> None:
        began.set()
        cancellation.wait(60)
        ended.set()
        raise Cancelled

    call = asyncio.create_task(run_stoppable(work))
    await asyncio.to_thread(began.wait)
    call.cancel()
    await asyncio.wait({call})

    assert call.cancelled()
    assert ended.is_set()


def test_a_disk_that_fails_is_no_fault_of_the_program() -> None:
    with pytest.raises(Unavailable) as raised, on_scratch():
        raise OSError(28, "No space left on device")

    assert raised.value.metadata == {"dependency": "scratch"}
