"""Decides what every worker does next. Pure: the clock comes from outside, nothing here waits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from services.common.errors import DeadlineExceeded, ResourceExhausted
from services.inference.engine import EngineLimits
from services.inference.scheduling.admission import Backlog, QueueLimits, check_time
from services.inference.scheduling.batching import fill
from services.inference.scheduling.priority import Priority
from services.inference.scheduling.profiles import Bounds, Profile, Profiles
from services.inference.scheduling.queues import Queues
from services.inference.scheduling.shares import BulkShare
from services.inference.scheduling.stats import SchedulerStats, Shed
from services.inference.scheduling.tally import Tally
from services.inference.scheduling.work import Batch, Item, Job, Part, Reading, Work

C = TypeVar("C")

# Bulk texts ride along with interactive ones where these take at most so much longer for it:
# next to nothing on a CPU, many on a GPU that is far from full.
_RIDE_ALONG = 1.1


class Scheduler(Generic[C]):
    """Texts of many calls in, batches out. Not thread safe: whoever calls holds a lock.

    A worker that is free asks for work and gets it where there is any: nothing waits for a
    fuller batch. Interactive texts go first, as long as bulk has its share. Models take turns,
    callers take turns within a model, and calls within a caller; what each gets is counted in
    seconds as predicted.
    """

    def __init__(
        self, *, workers: int, limits: QueueLimits, batch_seconds: float, bulk_share: float
    ) -> None:
        """Begin with nothing.

        Args:
            workers: How many ask for work, at least 1.
            limits: What may wait.
            batch_seconds: How long a batch of several texts should last at most.
            bulk_share: Part of the time that bulk texts get while both kinds wait, at least 0
                and below 1.
        """
        self._workers = workers
        self._batch_seconds = batch_seconds
        self._bulk_share = bulk_share
        self._bulk = BulkShare(bulk_share)
        self._backlog = Backlog(limits)
        self._queues: Queues[C] = Queues(self._backlog)
        self._profiles = Profiles()
        self._tally = Tally()
        self._expired: list[Job[C]] = []
        self._busy = 0
        self._busy_seconds = 0.0

    def profile(self, model: str, limits: EngineLimits) -> Profile:
        """Return what is known of a model; jobs are made for it."""
        return self._profiles.of(model, limits)

    def admit(self, job: Job[C], now: float) -> None:
        """Take a job.

        Raises:
            ResourceExhausted: Where too much waits; says when to come back.
            DeadlineExceeded: Where its time would be over before it was computed.
        """
        profile = job.profile
        length = profile.expected_length(sum(job.sizes) / len(job.sizes))
        job.tokens_each = min(length, job.max_tokens)
        job.seconds_each = profile.amortised(job.tokens_each, self._batch_seconds)
        wait, own = self._predict(job)
        try:
            if profile.cost.known:
                check_time(remaining=job.deadline - now, wait=wait, own=own)
            self._backlog.check_room(job, wait=wait)
        except DeadlineExceeded:
            self._tally.shed[Shed.TIME_TOO_SHORT] += 1
            raise
        except ResourceExhausted:
            self._tally.shed[Shed.QUEUE_FULL] += 1
            raise
        self._tally.calls += 1
        self._queues.add(job)

    def next(self, now: float) -> Work[C] | None:
        """Return what the worker that asks does next, or None where there is nothing to do.

        The worker tells the end of it with `read`, `done` or `failed`.
        """
        order = (Priority.INTERACTIVE, Priority.BULK)
        for priority in reversed(order) if self._bulk.due else order:
            while (work := self._queues.next(priority)) is not None:
                if isinstance(work, Item):
                    if self._in_time(work.job, now):
                        self._busy += 1
                        return self._batch(work, now)
                elif self._keep_parts_in_time(work, now):
                    self._busy += 1
                    return work
        return None

    def expired(self) -> list[Job[C]]:
        """Return the jobs whose time was over when it was their turn."""
        expired, self._expired = self._expired, []
        return expired

    def read(
        self, reading: Reading[C], lengths: Sequence[Sequence[int | None]], seconds: float
    ) -> None:
        """Take note of texts that were read.

        Args:
            reading: What `next` gave.
            lengths: Of each part the tokens of each text, None for texts that are refused.
            seconds: How long it took.
        """
        self._busy -= 1
        for part, found in zip(reading.parts, lengths, strict=True):
            job = part.job
            self._queues.read(job, len(found))
            if not job.alive:
                continue
            job.profile.learn_length(
                characters=sum(job.sizes[part.start : part.stop]),
                tokens=sum(length or 0 for length in found),
                texts=len(found),
            )
            for position, length in enumerate(found, part.start):
                if length is not None:
                    self._put(Item(job=job, position=position, length=length))
        self._queues.charge(reading.parts[0].job, seconds)

    def done(self, batch: Batch[C], seconds: float) -> None:
        """Take note of a batch that was computed in that many seconds."""
        self._ended(batch)
        batch.profile.cost.learn(len(batch.items), batch.longest, seconds)
        self._tally.ran(batch, seconds)

    def failed(self, batch: Batch[C], *, again: bool) -> None:
        """Take note of a batch that was not computed.

        Args:
            batch: What `next` gave.
            again: Whether its texts are tried once more, each alone, rather than dropped.
        """
        self._ended(batch)
        for item in batch.items if again else ():
            if item.job.alive:
                item.alone = True
                self._put(item)

    def give_up(self, job: Job[C]) -> None:
        """Drop a job that nobody waits for."""
        if job.alive:
            self._tally.shed[Shed.GIVEN_UP] += 1
        self.drop(job)

    def drop(self, job: Job[C]) -> None:
        """Drop a job that has failed."""
        job.alive = False
        self._queues.drop(job)

    def refuse(self, job: Job[C]) -> None:
        """Compute nothing of a job, but go on to read it: all that is wrong is to be told."""
        job.alive = False
        self._queues.remove_items(job)

    @property
    def waits(self) -> bool:
        """Whether anything waits, be it for an engine that is busy."""
        return any(map(self._queues.waits, Priority))

    def stats(self) -> SchedulerStats:
        """Return what was counted."""
        return self._tally.stats(self._backlog, running=self._busy)

    def _predict(self, job: Job[C]) -> tuple[float, float]:
        """Return the seconds that a job will wait, and those that it will then take."""
        loads = self._backlog.loads
        workers = min(self._workers, job.profile.limits.runs)
        before = loads[Priority.INTERACTIVE].seconds
        speed = workers / self._tally.pace
        if job.priority is Priority.BULK:
            before += loads[Priority.BULK].seconds
        elif self._queues.waits(Priority.BULK):
            speed *= 1 - self._bulk_share
        texts = len(job.sizes)
        own = texts * job.seconds_each
        # Taking turns, a caller who has little waiting does not wait for all of another's.
        has = self._backlog.of(job).seconds
        others = self._backlog.callers(job.priority) - (has > 0)
        before = min(before, has + others * (has + own))
        # The batches under way are on average half done.
        wait = before / speed + self._busy_seconds / 2 / self._workers
        alone = job.profile.cost.seconds(1, math.ceil(job.tokens_each))
        return wait, max(own / speed, alone)

    def _in_time(self, job: Job[C], now: float) -> bool:
        """Return whether somebody still waits for a job; drop it where not."""
        if now < job.deadline:
            return True
        if job.alive:
            self._tally.shed[Shed.EXPIRED] += 1
        self._expired.append(job)
        self.drop(job)
        return False

    def _keep_parts_in_time(self, reading: Reading[C], now: float) -> bool:
        kept: list[Part[C]] = []
        for part in reading.parts:
            if self._in_time(part.job, now):
                kept.append(part)
            else:
                self._queues.read(part.job, part.stop - part.start)
        reading.parts = kept
        return bool(kept)

    def _batch(self, lead: Item[C], now: float) -> Batch[C]:
        """Make a batch for a text, take its texts out and count it as under way."""
        profile, priority = lead.job.profile, lead.job.priority
        batch = Batch(
            profile=profile,
            items=[lead],
            longest=lead.length,
            seconds=profile.cost.seconds(1, lead.length),
        )
        bounds = profile.bounds(self._batch_seconds)
        # What waits is shared with the workers that are about to ask.
        free = min(self._workers - self._busy + 1, profile.limits.runs - profile.running)
        share = math.ceil(self._queues.texts(priority, profile) / free)
        self._fill(batch, priority, replace(bounds, texts=min(bounds.texts, share)))
        if priority is Priority.INTERACTIVE:
            self._fill(batch, Priority.BULK, replace(bounds, seconds=_RIDE_ALONG * batch.seconds))
        batch.items = [item for item in batch.items if self._in_time(item.job, now)]
        self._begin(batch)
        return batch

    def _fill(self, batch: Batch[C], priority: Priority, bounds: Bounds) -> None:
        waiting = self._queues.lengths(priority, batch.profile)
        if waiting is not None:
            fill(batch, waiting, bounds)

    def _begin(self, batch: Batch[C]) -> None:
        each = batch.seconds / len(batch.items)
        for item in batch.items:
            self._queues.charge(item.job, each)
            self._queues.remove(item)
        if batch.items[0].job.priority is Priority.BULK:
            self._bulk.bulk_ran(batch.seconds)
        else:
            self._bulk.interactive_ran(batch.seconds, bulk_waits=self._queues.waits(Priority.BULK))
        batch.profile.running += 1
        self._busy_seconds += batch.seconds

    def _ended(self, batch: Batch[C]) -> None:
        self._busy -= 1
        self._busy_seconds -= batch.seconds
        batch.profile.running -= 1

    def _put(self, item: Item[C]) -> None:
        item.seconds = item.job.profile.amortised(item.length, self._batch_seconds)
        self._queues.put(item)
