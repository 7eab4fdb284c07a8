from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import pytest

from services.common.errors import DeadlineExceeded, ResourceExhausted
from services.inference.pool import Job, Step, Ticket, WorkerPool

WAIT = 30.0


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(workers=1, max_texts=10)
    yield pool
    pool.close()


def job(
    *steps: Step,
    texts: int = 1,
    ticket: Ticket | None = None,
    finish: Callable[[], str] = lambda: "done",
) -> Job[str]:
    return Job(texts=texts, prepare=lambda: steps, finish=finish, ticket=ticket or Ticket())


def hold(pool: WorkerPool) -> tuple[Callable[[], None], Future[str]]:
    """Occupy the only worker until the returned function is called."""
    begun, free = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert free.wait(WAIT)

    future = pool.submit(job(wait))
    assert begun.wait(WAIT)
    return free.set, future


def test_the_answer_comes_when_all_steps_are_done(pool: WorkerPool) -> None:
    done: list[int] = []
    steps = [lambda number=number: done.append(number) for number in range(20)]

    future = pool.submit(job(*steps, texts=20, finish=lambda: f"{len(done)} done"))

    assert future.result(WAIT) == "20 done"
    assert done == list(range(20))


def test_all_workers_help_with_one_job() -> None:
    pool = WorkerPool(workers=3, max_texts=10)
    together = threading.Barrier(3)

    def meet() -> None:
        together.wait(WAIT)

    future = pool.submit(job(meet, meet, meet, texts=3))

    assert future.result(WAIT) == "done"
    pool.close()


def test_a_small_job_does_not_wait_for_all_of_a_large_one(pool: WorkerPool) -> None:
    order: list[str] = []
    small: list[Future[str]] = []

    def first() -> None:
        order.append("large")
        small.append(pool.submit(job(lambda: order.append("small"))))

    large = pool.submit(job(first, *[lambda: order.append("large") for _ in range(5)], texts=6))

    assert large.result(WAIT) == "done"
    assert small[0].result(WAIT) == "done"
    assert order.index("small") == 1


def test_a_failing_step_is_the_answer_and_ends_the_job(pool: WorkerPool) -> None:
    ran: list[int] = []

    def fail() -> None:
        raise ValueError("broken")

    future = pool.submit(job(fail, lambda: ran.append(1), lambda: ran.append(2), texts=3))

    with pytest.raises(ValueError, match="broken"):
        future.result(WAIT)
    assert pool.submit(job(lambda: None)).result(WAIT) == "done"
    assert ran == []


@pytest.mark.parametrize("count", [1, 4])
def test_what_nobody_waits_for_does_not_begin(pool: WorkerPool, count: int) -> None:
    ran: list[int] = []
    ticket = Ticket()
    free, _ = hold(pool)
    future = pool.submit(job(*[lambda: ran.append(1)] * count, texts=count, ticket=ticket))

    ticket.give_up()
    free()

    with pytest.raises(DeadlineExceeded):
        future.result(WAIT)
    assert ran == []


def test_the_steps_of_a_caller_who_goes_away_stop(pool: WorkerPool) -> None:
    ran: list[int] = []
    ticket = Ticket()

    def step() -> None:
        ran.append(1)
        if len(ran) == 2:
            ticket.give_up()

    with pytest.raises(DeadlineExceeded):
        pool.submit(job(*[step] * 9, texts=9, ticket=ticket)).result(WAIT)
    assert len(ran) == 2


def test_a_call_whose_time_is_over_is_refused_on_its_turn(pool: WorkerPool) -> None:
    with pytest.raises(DeadlineExceeded):
        pool.submit(job(lambda: None, ticket=Ticket(remaining=-1.0))).result(WAIT)


def test_too_many_waiting_texts_are_refused_with_a_delay(pool: WorkerPool) -> None:
    free, held = hold(pool)
    waiting = pool.submit(job(lambda: None, texts=9))

    with pytest.raises(ResourceExhausted) as caught:
        pool.submit(job(lambda: None, texts=1))
    free()

    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 0
    held.result(WAIT)
    waiting.result(WAIT)
    assert pool.submit(job(lambda: None, texts=10)).result(WAIT) == "done"


def test_an_idle_pool_takes_a_call_of_any_size(pool: WorkerPool) -> None:
    assert pool.submit(job(lambda: None, texts=512)).result(WAIT) == "done"


def test_a_failed_call_counts_no_longer(pool: WorkerPool) -> None:
    def prepare() -> Sequence[Step]:
        raise ValueError("broken")

    for _ in range(3):
        failing = Job(texts=9, prepare=prepare, finish=lambda: "", ticket=Ticket())
        with pytest.raises(ValueError, match="broken"):
            pool.submit(failing).result(WAIT)
