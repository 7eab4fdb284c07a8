"""What waits with one priority for one model: callers in turns, and their calls in turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.inference.scheduling.lengths import LengthQueues
from services.inference.scheduling.turns import Turns
from services.inference.scheduling.work import Item, Job, Part, Reading

C = TypeVar("C")

# One worker reads so much at a time: some milliseconds. Texts are cut near what a model takes
# before they are tokenised, so long ones count as no longer than that.
_READ_TEXTS = 32
_READ_CHARACTERS = 16_384
_CHARACTERS_PER_TOKEN = 16


@dataclass(slots=True, eq=False)
class _Flow(Generic[C]):
    """What one caller has waiting."""

    unread: deque[Job[C]] = field(default_factory=deque)
    ready: dict[Job[C], None] = field(default_factory=dict)
    """Jobs with texts to compute, whose turn it is first."""
    has_read: bool = False
    """Whether its last turn was one of reading."""


class Lane(Generic[C]):
    """Texts of one priority for one model."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.texts = 0
        """Texts that are read and wait."""
        self.lengths: LengthQueues[C] = LengthQueues()
        self._callers: Turns[str] = Turns()
        self._flows: dict[str, _Flow[C]] = {}

    def __bool__(self) -> bool:
        """Return whether anything waits."""
        return bool(self._flows)

    def can(self, *, run: bool) -> bool:
        """Return whether there is work; only reading counts where nothing may `run`."""
        return run or any(flow.unread for flow in self._flows.values())

    def add_unread(self, job: Job[C]) -> None:
        """Let all texts of a job wait to be read."""
        self._flow(job.caller).unread.append(job)

    def add(self, item: Item[C]) -> None:
        """Let a text that is read wait to be computed."""
        self.texts += 1
        item.job.items[item] = None
        self._flow(item.job.caller).ready[item.job] = None
        if not item.alone:
            self.lengths.add(item)

    def next(self, *, run: bool) -> Reading[C] | Item[C] | None:
        """Return what is next: texts to read, or the text that a batch is made for.

        What is to be read is taken; the text stays until it is removed.
        """
        caller = self._callers.first(lambda key: run or bool(self._flows[key].unread))
        if caller is None:
            return None
        self._callers.take(caller)
        flow = self._flows[caller]
        # Only what is read can be put in batches by length, so reading goes first; but texts
        # that are read do not wait until all of a large call is.
        flow.has_read = bool(flow.unread) and not (run and flow.ready and flow.has_read)
        if flow.has_read:
            reading = _reading(flow.unread)
            self._tidy(caller, flow)
            return reading
        job = next(iter(flow.ready))
        # Its next text comes after one of each other call.
        del flow.ready[job]
        flow.ready[job] = None
        return next(iter(job.items))

    def charge(self, caller: str, seconds: float) -> None:
        """Note what a caller got."""
        self._callers.charge(caller, seconds)

    def remove(self, item: Item[C]) -> None:
        """Take a text out, because it is computed or nobody waits for it."""
        job = item.job
        self.texts -= 1
        if not item.alone:
            self.lengths.remove(item)
        del job.items[item]
        if not job.items:
            flow = self._flows[job.caller]
            del flow.ready[job]
            self._tidy(job.caller, flow)

    def remove_unread(self, job: Job[C]) -> None:
        """Take out what of a job nobody reads yet."""
        flow = self._flows[job.caller]
        flow.unread.remove(job)
        self._tidy(job.caller, flow)

    def _flow(self, caller: str) -> _Flow[C]:
        self._callers.join(caller)
        flow = self._flows.get(caller)
        if flow is None:
            flow = self._flows[caller] = _Flow()
        return flow

    def _tidy(self, caller: str, flow: _Flow[C]) -> None:
        if not flow.unread and not flow.ready:
            del self._flows[caller]
            self._callers.leave(caller)


def _reading(unread: deque[Job[C]]) -> Reading[C]:
    """Take about as many texts as one worker reads at a time, of one call after another."""
    parts: list[Part[C]] = []
    texts = characters = 0
    for _ in range(len(unread)):
        job = unread.popleft()
        start = stop = job.handed_out
        for size in _bounded(job, start):
            if texts and (texts == _READ_TEXTS or characters + size > _READ_CHARACTERS):
                break
            texts += 1
            characters += size
            stop += 1
        if stop == start:
            unread.appendleft(job)
            break
        parts.append(Part(job=job, start=start, stop=stop))
        job.handed_out = stop
        if stop < len(job.sizes):
            # The rest comes after the other calls.
            unread.append(job)
            break
    return Reading(parts=parts)


def _bounded(job: Job[C], start: int) -> Iterable[int]:
    """Return the characters of each text from `start` on that are looked at."""
    most = job.max_tokens * _CHARACTERS_PER_TOKEN
    return (min(job.sizes[position], most) for position in range(start, len(job.sizes)))
