"""Workers, engines and callers on a virtual clock, around the real scheduler."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from services.common.errors import IsoglossError
from services.inference.engine import EngineLimits
from services.inference.scheduling.admission import QueueLimits
from services.inference.scheduling.priority import Priority
from services.inference.scheduling.scheduler import Scheduler
from services.inference.scheduling.work import Batch, Job, Reading

Curve = Callable[[int, int], float]

NEVER = float("inf")
READ_SECONDS = 3e-5
CHARACTERS_PER_TOKEN = 4


def cpu(texts: int, longest: int) -> float:
    """Like all-MiniLM-L6-v2 on one core."""
    return 1.5e-3 + texts * longest * (1.6e-4 + 2.5e-7 * longest)


def gpu(texts: int, longest: int) -> float:
    """Idle until a thousand tokens are under way, and fast from there on."""
    return max(2.5e-3, 1.5e-3 + 1e-6 * texts * longest)


POISON = 511
"""Length of texts that no engine can compute: a batch with one of them fails."""

UNREADABLE = 512
"""Length of texts for which a call is refused once they are read."""

CPU_LIMITS = EngineLimits(texts=32, padded_tokens=2_048, runs=1_024)
GPU_LIMITS = EngineLimits(texts=256, padded_tokens=16_384, runs=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    curve: Curve
    limits: EngineLimits
    workers: int
    horizon: float = 1.0
    """Seconds that are worth looking at."""
    noise: float = 0.0
    """How much runs differ, relatively; one in a hundred then takes five times as long."""


CPU = Machine(curve=cpu, limits=CPU_LIMITS, workers=2)
GPU = Machine(curve=gpu, limits=GPU_LIMITS, workers=4, horizon=0.05)


MACHINES = [
    pytest.param(CPU, id="cpu"),
    pytest.param(GPU, id="gpu"),
    pytest.param(replace(CPU, noise=0.3), id="noisy"),
]


def numbers(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 (a simulation)


def short(seed: int) -> Callable[[], Sequence[int]]:
    source = numbers(seed)
    return lambda: [source.randint(5, 30)]


@dataclass(slots=True, eq=False)
class Asked:
    """A call and what became of it."""

    lengths: Sequence[int]
    priority: Priority
    caller: str
    model: str
    arrived: float
    remaining: float
    job: Job[Asked] | None = None
    error: IsoglossError | None = None
    expired: bool = False
    given_up: bool = False
    refused: bool = False
    failed: bool = False
    read: Counter[int] = field(default_factory=Counter)
    computed: Counter[int] = field(default_factory=Counter)
    finished: float = NEVER
    served: float = 0.0
    """Seconds of workers that its texts took, each its share of its batches."""

    @property
    def latency(self) -> float:
        return self.finished - self.arrived

    @property
    def late(self) -> bool:
        return self.latency > self.remaining


class Simulation:
    """Events in the order of their times; what is due at the same time in the order it was put."""

    def __init__(
        self,
        machine: Machine,
        *,
        queue: QueueLimits | None = None,
        batch_seconds: float = 0.04,
        bulk_share: float = 0.2,
    ) -> None:
        self.now = 0.0
        self.machine = machine
        self.queue = queue or QueueLimits(tokens=10**9, bytes=10**12)
        self.scheduler: Scheduler[Asked] = Scheduler(
            workers=machine.workers,
            limits=self.queue,
            batch_seconds=batch_seconds,
            bulk_share=bulk_share,
        )
        self.calls: list[Asked] = []
        self.batches: list[Batch[Asked]] = []
        self.busy_seconds = 0.0
        self.idle = machine.workers
        self.being_read = 0
        self.running: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._random = random.Random(7)  # noqa: S311 (a simulation)
        self._when_done: dict[Asked, Callable[[], None]] = {}

    def at(self, time: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), do))

    def run(self, until: float = NEVER) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()
            self._start_workers()

    def ask(
        self,
        lengths: Sequence[int],
        *,
        at: float = 0.0,
        priority: Priority = Priority.INTERACTIVE,
        caller: str = "acme",
        model: str = "tone",
        remaining: float = NEVER,
    ) -> Asked:
        """Let a call arrive."""
        asked = Asked(lengths, priority, caller, model, at, remaining)
        self.calls.append(asked)
        self.at(at, lambda: self._admit(asked))
        return asked

    def give_up(self, asked: Asked, *, at: float) -> None:
        """Let a caller go away."""
        self.at(at, lambda: self._give_up(asked))

    def keep_asking(
        self,
        lengths: Callable[[], Sequence[int]],
        *,
        until: float = NEVER,
        **how: Any,  # noqa: ANN401 (of `ask`)
    ) -> None:
        """Let a caller send one call after the other, each once the last is answered."""

        def again() -> None:
            if self.now < until:
                watch(self.ask(lengths(), at=self.now, **how))

        def watch(asked: Asked) -> None:
            self._when_done[asked] = again

        watch(self.ask(lengths(), at=self.now, **how))

    def _admit(self, asked: Asked) -> None:
        job: Job[Asked] = Job(
            call=asked,
            profile=self.scheduler.profile(asked.model, self.machine.limits),
            max_tokens=512,
            priority=asked.priority,
            caller=asked.caller,
            sizes=[length * CHARACTERS_PER_TOKEN for length in asked.lengths],
            memory=sum(asked.lengths) * CHARACTERS_PER_TOKEN,
            deadline=self.now + asked.remaining,
        )
        try:
            self.scheduler.admit(job, self.now)
        except IsoglossError as error:
            asked.error = error
        else:
            asked.job = job
        stats = self.scheduler.stats()
        assert len(self.calls) == 1 or stats.waiting_bytes <= max(self.queue.bytes, job.memory)

    def _give_up(self, asked: Asked) -> None:
        if asked.job is not None and asked.finished == NEVER and not asked.expired:
            asked.given_up = True
            self.scheduler.give_up(asked.job)

    def _start_workers(self) -> None:
        while self.idle:
            work = self.scheduler.next(self.now)
            for job in self.scheduler.expired():
                job.call.expired = True
            if work is None:
                return
            self.idle -= 1
            if isinstance(work, Reading):
                self._read(work)
            else:
                self._compute(work)

    def _read(self, reading: Reading[Asked]) -> None:
        lengths: list[list[int | None]] = []
        for part in reading.parts:
            for position in range(part.start, part.stop):
                part.job.call.read[position] += 1
            found = part.job.call.lengths[part.start : part.stop]
            lengths.append([None if length == UNREADABLE else length for length in found])
        texts = sum(map(len, lengths))
        seconds = READ_SECONDS * texts
        self.being_read += texts

        def end() -> None:
            self.idle += 1
            self.being_read -= texts
            for part, found in zip(reading.parts, lengths, strict=True):
                if None in found and part.job.alive:
                    part.job.call.refused = True
                    self.scheduler.refuse(part.job)
            self.scheduler.read(reading, lengths, seconds)

        self.at(self.now + seconds, end)

    def _compute(self, batch: Batch[Asked]) -> None:
        self.batches.append(batch)
        texts, model = len(batch.items), batch.items[0].job.call.model
        limits = self.machine.limits
        assert {item.job.call.model for item in batch.items} == {model}
        assert batch.longest == max(item.length for item in batch.items)
        assert texts == 1 or (
            texts <= limits.texts and texts * batch.longest <= limits.padded_tokens
        )
        assert all(item.job.deadline > self.now for item in batch.items)
        self.running[model] += 1
        assert self.running[model] <= limits.runs
        seconds = self.machine.curve(texts, batch.longest) * self._luck()
        self.busy_seconds += seconds

        def end() -> None:
            self.idle += 1
            self.running[model] -= 1
            if any(item.length == POISON for item in batch.items):
                self._fail(batch)
                return
            self.scheduler.done(batch, seconds)
            for item in batch.items:
                self._computed(item.job.call, item.position, seconds / texts)

        self.at(self.now + seconds, end)

    def _fail(self, batch: Batch[Asked]) -> None:
        alone = len(batch.items) == 1
        self.scheduler.failed(batch, again=not alone)
        if alone and not batch.items[0].job.call.given_up:
            assert not batch.items[0].job.call.failed or not batch.items[0].job.alive
            batch.items[0].job.call.failed = True
            self.scheduler.drop(batch.items[0].job)

    def _computed(self, asked: Asked, position: int, seconds: float) -> None:
        asked.computed[position] += 1
        asked.served += seconds
        if len(asked.computed) == len(asked.lengths):
            asked.finished = self.now
            self._when_done.pop(asked, lambda: None)()

    def _luck(self) -> float:
        if not self.machine.noise:
            return 1.0
        spread = self._random.uniform(1 - self.machine.noise, 1 + self.machine.noise)
        return spread * (5 if self._random.random() < 0.01 else 1)
