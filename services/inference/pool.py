"""Worker threads shared by all callers, bounded, in turns. Knows neither texts nor gRPC."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.common.errors import DeadlineExceeded, ResourceExhausted

T = TypeVar("T")
Step = Callable[[], None]

# Bounds of what a refused caller is told to wait, in seconds: sooner would find the queue as
# full as before, later would leave this server idle.
_SHORTEST_WAIT = 0.1
_LONGEST_WAIT = 10.0

# Weight of the latest job in the running mean of seconds per text.
_MEAN_WEIGHT = 0.1


class Ticket:
    """A caller's wish for an answer: it ends when the caller goes away or time is over."""

    __slots__ = ("_deadline", "_given_up")

    def __init__(self, remaining: float | None = None) -> None:
        """Start the clock.

        Args:
            remaining: Seconds until nobody waits any more; None for no end.
        """
        self._deadline = None if remaining is None else time.monotonic() + remaining
        self._given_up = False

    def give_up(self) -> None:
        """Say that nobody waits any more; work that has not begun will not begin."""
        self._given_up = True

    def check(self) -> None:
        """Raise `DeadlineExceeded` where nobody waits any more."""
        if self._given_up or (self._deadline is not None and time.monotonic() > self._deadline):
            raise DeadlineExceeded(
                "The time for this call was over before its texts were computed. Allow more "
                "time, or send fewer texts in one call."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[T]):
    """The work of one call."""

    texts: int
    """How many texts it is about: what the pool counts."""

    prepare: Callable[[], Sequence[Step]]
    """Runs first, and returns the steps, in any order and at once, that come next."""

    finish: Callable[[], T]
    """Runs when all steps are done, and returns the answer."""

    ticket: Ticket
    """Asked before every step."""


class WorkerPool:
    """Runs jobs on a fixed number of threads.

    A call's steps queue up one at a time for each worker, so calls take turns and a call of
    one text waits for a step or two of a large call, not for all of it.
    """

    def __init__(self, *, workers: int, max_texts: int) -> None:
        """Start no thread yet.

        Args:
            workers: Threads, at least 1.
            max_texts: Texts that may be under way or waiting. A call that comes to an idle
                pool is taken whatever its size.
        """
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="inference")
        self._workers = workers
        self._max_texts = max_texts
        self._lock = threading.Lock()
        self._texts = 0
        self._seconds_per_text = 0.0

    def submit(self, job: Job[T]) -> Future[T]:
        """Take a job.

        Raises:
            ResourceExhausted: Where too many texts are waiting; says when to come back.
        """
        with self._lock:
            if self._texts and self._texts + job.texts > self._max_texts:
                raise self._overloaded(job.texts)
            self._texts += job.texts
        run = _Run(job, self._executor.submit, self._workers)
        run.future.add_done_callback(lambda _: self._release(job.texts, run.seconds))
        self._executor.submit(run.begin)
        return run.future

    def close(self) -> None:
        """Finish what has begun, drop the rest, and end the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _release(self, texts: int, seconds: float) -> None:
        with self._lock:
            self._texts -= texts
            change = seconds / texts - self._seconds_per_text
            self._seconds_per_text += _MEAN_WEIGHT * change

    def _overloaded(self, texts: int) -> ResourceExhausted:
        wait = self._texts * self._seconds_per_text / self._workers
        return ResourceExhausted(
            f"This server has {self._texts} texts to compute and takes {self._max_texts} at "
            f"most; {texts} more do not fit. Try again after the delay that this error names.",
            metadata={"waiting": str(self._texts), "limit": str(self._max_texts)},
            retry_after=min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT),
        )


class _Run(Generic[T]):
    """One job on its way through the pool."""

    def __init__(
        self, job: Job[T], submit: Callable[[Callable[[], None]], object], workers: int
    ) -> None:
        self.future: Future[T] = Future()
        # From here on it cannot be cancelled, only given up through its ticket: whoever
        # stops waiting must not keep the pool from counting the job as done.
        self.future.set_running_or_notify_cancel()
        self.seconds = 0.0
        self._job = job
        self._submit = submit
        self._workers = workers
        self._lock = threading.Lock()
        self._waiting: list[Step] = []
        self._unfinished = 0
        self._failed = False

    def begin(self) -> None:
        """Prepare, and run the only step or queue up for all of them."""
        try:
            self._job.ticket.check()
            started = time.perf_counter()
            steps = self._job.prepare()
            if len(steps) == 1:
                self._job.ticket.check()
                steps[0]()
                self._finish(time.perf_counter() - started)
                return
            self.seconds = time.perf_counter() - started
        except BaseException as error:  # noqa: BLE001 (whoever waits for the future gets it)
            self._fail(error)
            return
        # Reversed, so that taking from the end takes them in order.
        self._waiting = list(reversed(steps))
        self._unfinished = len(steps)
        for _ in range(min(self._workers, len(steps))):
            self._submit(self._next)

    def _next(self) -> None:
        """Run one step and queue up again behind everybody else."""
        with self._lock:
            if not self._waiting:
                return
            step = self._waiting.pop()
        try:
            self._job.ticket.check()
            started = time.perf_counter()
            step()
            seconds = time.perf_counter() - started
            with self._lock:
                self.seconds += seconds
                self._unfinished -= 1
                last = self._unfinished == 0
            if last:
                self._finish(0.0)
            else:
                self._submit(self._next)
        except BaseException as error:  # noqa: BLE001 (as above)
            self._fail(error)

    def _finish(self, seconds: float) -> None:
        self.seconds += seconds
        self.future.set_result(self._job.finish())

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._waiting.clear()
            if self._failed:
                return
            self._failed = True
        self.future.set_exception(error)
