"""All that waits, by priority and model, and how much it is. Knows no costs and no workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.inference.scheduling.admission import Backlog
from services.inference.scheduling.lane import Lane
from services.inference.scheduling.lengths import LengthQueues
from services.inference.scheduling.priority import Priority
from services.inference.scheduling.profiles import Profile
from services.inference.scheduling.turns import Turns
from services.inference.scheduling.work import Item, Job, Reading

C = TypeVar("C")


@dataclass(slots=True)
class _Class(Generic[C]):
    """What waits with one priority: models in turns."""

    turns: Turns[Profile] = field(default_factory=Turns)
    lanes: dict[Profile, Lane[C]] = field(default_factory=dict)


class Queues(Generic[C]):
    """Texts that wait to be read or computed; what waits is always what the backlog counts."""

    def __init__(self, backlog: Backlog) -> None:
        """Begin with nothing, and keep count in `backlog`."""
        self._backlog = backlog
        self._classes: dict[Priority, _Class[C]] = {priority: _Class() for priority in Priority}

    def waits(self, priority: Priority) -> bool:
        """Return whether anything waits with that priority."""
        return bool(self._classes[priority].lanes)

    def texts(self, priority: Priority, profile: Profile) -> int:
        """Return how many texts wait to be computed."""
        lane = self._classes[priority].lanes.get(profile)
        return 0 if lane is None else lane.texts

    def lengths(self, priority: Priority, profile: Profile) -> LengthQueues[C] | None:
        """Return the texts that wait to be computed, by length; None where none do."""
        lane = self._classes[priority].lanes.get(profile)
        return None if lane is None else lane.lengths

    def add(self, job: Job[C]) -> None:
        """Let a job's texts wait to be read."""
        self._backlog.bytes += job.memory
        self._count_unread(job, len(job.sizes))
        self._lane(job).add_unread(job)

    def put(self, item: Item[C]) -> None:
        """Let a text wait to be computed."""
        self._count(item, 1)
        self._lane(item.job).add(item)

    def next(self, priority: Priority) -> Reading[C] | Item[C] | None:
        """Return whose turn it is: texts to read, which are taken, or a text to compute.

        Only reading counts for a model whose engine takes no more batches now.
        """
        found = self._classes[priority]
        profile = found.turns.first(lambda key: found.lanes[key].can(run=key.may_run))
        if profile is None:
            return None
        found.turns.take(profile)
        lane = found.lanes[profile]
        work = lane.next(run=profile.may_run)
        self._tidy(priority, profile)
        return work

    def read(self, job: Job[C], texts: int) -> None:
        """Note that so many texts, which were taken to be read, are read."""
        self._count_unread(job, -texts)
        job.read += texts
        if job.read == len(job.sizes):
            self._release(job)

    def charge(self, job: Job[C], seconds: float) -> None:
        """Note what a job's model and caller got."""
        found = self._classes[job.priority]
        found.turns.charge(job.profile, seconds)
        lane = found.lanes.get(job.profile)
        if lane is not None:
            lane.charge(job.caller, seconds)

    def remove(self, item: Item[C]) -> None:
        """Take a text out that waited to be computed."""
        self._count(item, -1)
        job = item.job
        self._classes[job.priority].lanes[job.profile].remove(item)
        self._tidy(job.priority, job.profile)

    def remove_items(self, job: Job[C]) -> None:
        """Take out all texts of a job that wait to be computed."""
        for item in list(job.items):
            self.remove(item)

    def drop(self, job: Job[C]) -> None:
        """Take out all of a job; what a worker reads just now it still has to report."""
        self.remove_items(job)
        left = len(job.sizes) - job.handed_out
        if left:
            self._classes[job.priority].lanes[job.profile].remove_unread(job)
            self._tidy(job.priority, job.profile)
            job.handed_out += left
            self._count_unread(job, -left)
        self._release(job)

    def _lane(self, job: Job[C]) -> Lane[C]:
        found = self._classes[job.priority]
        found.turns.join(job.profile)
        lane = found.lanes.get(job.profile)
        if lane is None:
            lane = found.lanes[job.profile] = Lane()
        return lane

    def _tidy(self, priority: Priority, profile: Profile) -> None:
        found = self._classes[priority]
        if not found.lanes[profile]:
            del found.lanes[profile]
            found.turns.leave(profile)

    def _count(self, item: Item[C], texts: int) -> None:
        self._backlog.add(
            item.job, texts=texts, tokens=texts * item.length, seconds=texts * item.seconds
        )

    def _count_unread(self, job: Job[C], texts: int) -> None:
        self._backlog.add(
            job, texts=texts, tokens=texts * job.tokens_each, seconds=texts * job.seconds_each
        )

    def _release(self, job: Job[C]) -> None:
        self._backlog.bytes -= job.memory
        job.memory = 0
