"""The workers: threads that read and compute whatever the scheduler says is next."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import structlog

from services.common.errors import IsoglossError
from services.inference.engine import EngineDied, FloatArray, RunFailed
from services.inference.lost import engine_died, stopping, text_failed, too_late
from services.inference.model import Computed, Model, Question
from services.inference.pending import PendingCall
from services.inference.scheduling.scheduler import Scheduler
from services.inference.scheduling.stats import SchedulerStats
from services.inference.scheduling.work import Batch, Item, Job, Reading, Work

_log = structlog.get_logger()

T = TypeVar("T")

AnyCall: TypeAlias = PendingCall[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A question on its way to an answer."""

    future: Future[T]
    """The answer, or the error that takes its place. Cannot be cancelled, only given up."""

    give_up: Callable[[], None]
    """Says that nobody waits any more; work that has not begun will not begin."""


class Dispatcher:
    """Takes questions and has them computed. Thread safe.

    Workers pull: whoever is free asks the scheduler. So one that has read a text goes on to
    compute it where nothing comes first, and a lone text costs one hop there and one back.
    """

    def __init__(
        self, scheduler: Scheduler[AnyCall], *, workers: int, answered: Callable[[], None]
    ) -> None:
        """Start the workers.

        Args:
            scheduler: Says what is next; used by nobody else.
            workers: Threads, as many as the scheduler was made for.
            answered: Called after futures were set: once for all that became ready together.
        """
        self._scheduler = scheduler
        self._answered = answered
        self._lock = threading.Lock()
        # One token for every worker that is to wake up: a condition does the same in Python, on
        # the way of every lone text.
        self._work_came: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle = 0
        self._closed = False
        self._calls: set[AnyCall] = set()
        self._threads = [
            threading.Thread(target=self._work, name=f"inference-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, model: Model, question: Question, answer: Callable[[Computed], T]) -> Call[T]:
        """Take a question.

        Args:
            model: With which model.
            question: What to compute.
            answer: Makes the call's answer of what was computed, on a worker thread.

        Raises:
            ResourceExhausted: Where too much is waiting; says when to come back.
            DeadlineExceeded: Where the time would be over before the texts were computed.
            Unavailable: Where this server is stopping.

        The future raises:
            InvalidArgument: Naming every text of which cleaning leaves nothing, and, with
                truncation NONE, every text that is too long; not where `each` is set.
            DeadlineExceeded: Where the time was over before the texts were computed.
            Unavailable: Where what computed them died.
        """
        call = PendingCall(model, question, answer)
        remaining = question.remaining
        now = time.monotonic()
        with self._lock:
            if self._closed:
                raise stopping()
            job: Job[AnyCall] = Job(
                call=call,
                profile=self._scheduler.profile(_batched(call), model.engine.limits),
                max_tokens=model.max_tokens,
                priority=question.priority,
                caller=question.caller,
                sizes=list(map(len, question.texts)),
                memory=sum(map(sys.getsizeof, question.texts)),
                deadline=float("inf") if remaining is None else now + remaining,
            )
            self._scheduler.admit(job, now)
            self._calls.add(call)
            self._wake_one()
        return Call(future=call.future, give_up=lambda: self._give_up(job))

    @property
    def alive(self) -> bool:
        """Whether every worker is there: one that ended before its time has met a bug of ours."""
        return all(thread.is_alive() for thread in self._threads)

    def stats(self) -> SchedulerStats:
        """Return what was counted, and what waits and runs now."""
        with self._lock:
            return self._scheduler.stats()

    def close(self) -> None:
        """Finish what has begun, drop the rest, and end the threads."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._wake_one()
        for thread in self._threads:
            thread.join()
        with self._lock:
            left = self._end(self._calls.copy())
        self._tell([], {call: stopping() for call in left})

    def _give_up(self, job: Job[AnyCall]) -> None:
        with self._lock:
            left = self._end([job.call])
            if left:
                self._scheduler.give_up(job)
        self._tell([], {call: too_late() for call in left})

    def _work(self) -> None:
        while (work := self._next()) is not None:
            if isinstance(work, Reading):
                self._read(work)
            else:
                self._run(work)
            # A worker that waits must not keep the last call's model in memory.
            del work

    def _next(self) -> Work[AnyCall] | None:
        """Wait for work; return None where this server is stopping."""
        while True:
            with self._lock:
                if self._closed:
                    return None
                work = self._scheduler.next(time.monotonic())
                late = self._end(job.call for job in self._scheduler.expired())
                idle = work is None and not late
                if idle:
                    self._idle += 1
                elif self._scheduler.waits:
                    # One more wakes the next, as far as there is work.
                    self._wake_one()
            if idle:
                self._work_came.get()
                continue
            self._tell([], {call: too_late() for call in late})
            if work is not None:
                return work

    def _wake_one(self) -> None:
        """Wake an idle worker, if there is one; with the lock."""
        if self._idle:
            self._idle -= 1
            self._work_came.put(None)

    def _read(self, reading: Reading[AnyCall]) -> None:
        began = time.perf_counter()
        lengths: list[list[int | None]] = []
        errors: dict[AnyCall, Exception] = {}
        for part in reading.parts:
            try:
                lengths.append(part.job.call.read(part.start, part.stop))
            except Exception as error:  # noqa: BLE001 (whoever waits for the call gets it)
                errors[part.job.call] = error
                lengths.append([None] * (part.stop - part.start))
        seconds = time.perf_counter() - began
        with self._lock:
            for job in {part.job for part in reading.parts if part.job.call in errors}:
                self._scheduler.drop(job)
            failed = self._end(errors)
            complete = [
                part.job.call
                for part, found in zip(reading.parts, lengths, strict=True)
                if part.job.call.settle_read(found)
            ]
            for part in reading.parts:
                if part.job.call.refused:
                    self._scheduler.refuse(part.job)
            self._scheduler.read(reading, lengths, seconds)
            complete = self._end(complete)
        self._tell(complete, {call: errors[call] for call in failed})

    def _run(self, batch: Batch[AnyCall]) -> None:
        first = batch.items[0].job.call
        ids = [item.job.call.ids(item.position) for item in batch.items]
        began = time.perf_counter()
        try:
            rows = first.model.engine.run(ids, first.question.outputs)
            _check_finite(rows)
            seconds = time.perf_counter() - began
            for call, computed in _by_call(batch.items):
                call.keep(computed, rows, seconds)
        except EngineDied:
            self._lose(batch, engine_died)
        except Exception as error:  # noqa: BLE001 (other texts may still be computed)
            if len(batch.items) > 1:
                _log.warning("batch_failed", texts=len(batch.items), error=str(error))
                with self._lock:
                    self._scheduler.failed(batch, again=True)
            else:
                _log.exception("text_failed", model=first.model.name)
                self._lose(batch, text_failed)
        else:
            with self._lock:
                complete = self._settle(batch)
            self._tell(complete, {})
            # Answers first: nobody waits for what is learnt.
            with self._lock:
                self._scheduler.done(batch, seconds)

    def _lose(self, batch: Batch[AnyCall], error_of: Callable[[str, int], IsoglossError]) -> None:
        """Let every text of a batch have an error, or its call where that has no room for it."""
        errors: dict[AnyCall, IsoglossError] = {}
        with self._lock:
            self._scheduler.failed(batch, again=False)
            for item in batch.items:
                call = item.job.call
                if call.question.each:
                    call.keep_error(item.position, error_of(call.model.name, item.position))
                elif call not in errors:
                    errors[call] = error_of(call.model.name, item.position)
                    self._scheduler.drop(item.job)
            failed = self._end(errors)
            complete = self._settle(batch)
        self._tell(complete, {call: errors[call] for call in failed})

    def _tell(self, complete: Sequence[AnyCall], failed: Mapping[AnyCall, BaseException]) -> None:
        """Answer calls that are over; without the lock, for answers take time to make."""
        for call in complete:
            call.finish()
        for call, error in failed.items():
            call.fail(error)
        if complete or failed:
            self._answered()

    def _settle(self, batch: Batch[AnyCall]) -> list[AnyCall]:
        """Count a batch's texts as done; return the calls that are complete with it."""
        return self._end(
            [call for call, computed in _by_call(batch.items) if call.settle(len(computed))]
        )

    def _end(self, calls: Iterable[AnyCall]) -> list[AnyCall]:
        """Note that calls are over, and return those that were not."""
        ending = [call for call in calls if not call.over]
        for call in ending:
            call.over = True
        self._calls.difference_update(ending)
        return ending


def _check_finite(rows: Iterable[FloatArray]) -> None:
    """Let no NaN become a vector or a label: the texts are computed alone, and one is told.

    Raises:
        RunFailed: Where a number is not finite.
    """
    if not all(np.isfinite(each).all() for each in rows):
        raise RunFailed("the graph answers with numbers that are not finite")


def _by_call(items: Iterable[Item[AnyCall]]) -> Iterator[tuple[AnyCall, dict[int, int]]]:
    """Return each call once, with which of its texts is which of the items."""
    found: dict[AnyCall, dict[int, int]] = {}
    for row, item in enumerate(items):
        found.setdefault(item.job.call, {})[item.position] = row
    yield from found.items()


def _batched(call: AnyCall) -> str:
    """Return what texts have in common that may run together."""
    return " ".join((call.model.digest, *call.question.outputs))
