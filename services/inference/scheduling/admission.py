"""How much may wait, and whether a call's time suffices. Counts; schedules nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from services.common.errors import DeadlineExceeded, ResourceExhausted
from services.inference.scheduling.priority import Priority
from services.inference.scheduling.work import Job

C = TypeVar("C")

# A caller may take at most this many times what it leaves free, with either priority: alone four
# fifths of the queue, together with others less, and there is always room for somebody new.
_GREED = 4.0

# Bounds of what a refused caller is told to wait, in seconds: sooner would find the queue as
# full as before, later would leave this server idle.
_SHORTEST_WAIT = 0.05
_LONGEST_WAIT = 30.0

# Who is let in must be in time. What waits is taken by length as well as by age, so that some
# wait twice as long as the queue lasts; what a call takes itself is predicted better.
_WAIT_MARGIN = 2.0
_OWN_MARGIN = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """What may wait in one process."""

    tokens: int
    """Of texts that are read or to be read, as estimated from their characters."""

    bytes: int
    """Memory of texts that are to be read."""


@dataclass(slots=True)
class Load:
    """What waits."""

    texts: int = 0
    tokens: float = 0.0
    seconds: float = 0.0
    """What it is expected to take one worker."""

    def add(self, texts: int, tokens: float, seconds: float) -> None:
        """Count what comes, or with negative numbers what goes."""
        self.texts += texts
        if not self.texts:
            # Whatever rounding has left.
            self.tokens = self.seconds = 0.0
            return
        self.tokens += tokens
        self.seconds += seconds


class Backlog:
    """All that waits, in total and of each caller with each priority."""

    def __init__(self, limits: QueueLimits) -> None:
        """Begin with nothing."""
        self.bytes = 0
        self.loads = {priority: Load() for priority in Priority}
        self._limits = limits
        self._callers: dict[Priority, dict[str, Load]] = {priority: {} for priority in Priority}

    @property
    def tokens(self) -> float:
        """Tokens that wait."""
        return sum(load.tokens for load in self.loads.values())

    def of(self, job: Job[C]) -> Load:
        """Return what a job's caller has waiting with its priority."""
        return self._callers[job.priority].get(job.caller) or Load()

    def callers(self, priority: Priority) -> int:
        """Return how many have something waiting."""
        return len(self._callers[priority])

    def add(self, job: Job[C], *, texts: int, tokens: float, seconds: float) -> None:
        """Count what comes of a job, or with negative numbers what goes."""
        self.loads[job.priority].add(texts, tokens, seconds)
        callers = self._callers[job.priority]
        load = callers.get(job.caller)
        if load is None:
            load = callers[job.caller] = Load()
        load.add(texts, tokens, seconds)
        if not load.texts:
            del callers[job.caller]

    def check_room(self, job: Job[C], *, wait: float) -> None:
        """See that a job may wait; an empty queue takes any.

        Args:
            job: What comes.
            wait: Seconds after which there will be room.

        Raises:
            ResourceExhausted: Where it may not; says when to come back.
        """
        waiting, tokens = self.tokens, len(job.sizes) * job.tokens_each
        if not waiting:
            return
        limit = self._limits.tokens
        if self.of(job).tokens + tokens > _GREED * (limit - waiting - tokens):
            raise _full("tokens", waiting, limit, tokens, wait, setting="QUEUE_TOKENS")
        limit = self._limits.bytes
        if self.bytes + job.memory > limit:
            what = "bytes of text"
            raise _full(what, self.bytes, limit, job.memory, wait, setting="QUEUE_BYTES")


def check_time(*, remaining: float, wait: float, own: float) -> None:
    """See that a call may be answered in time.

    Args:
        remaining: Seconds that it has.
        wait: Seconds that it will wait.
        own: Seconds that it will then take.

    Raises:
        DeadlineExceeded: Where its time does not suffice; says when it may.
    """
    if _WAIT_MARGIN * wait + _OWN_MARGIN * own <= remaining:
        return
    predicted = wait + own
    raise DeadlineExceeded(
        f"This call needs about {predicted:.4f} s here, {wait:.4f} s of them waiting; as that may "
        f"be up to {_WAIT_MARGIN * wait + _OWN_MARGIN * own:.4f} s, the {remaining:.4f} s that it "
        "has left do not suffice. Allow more time, send fewer texts in one call, or try again "
        "after the delay that this error names.",
        metadata={
            "predicted_seconds": f"{predicted:.3f}",
            "remaining_seconds": f"{remaining:.3f}",
        },
        retry_after=_bounded(wait),
    )


def _full(
    what: str, waiting: float, limit: int, more: float, wait: float, *, setting: str
) -> ResourceExhausted:
    return ResourceExhausted(
        f"This server has {waiting:.0f} {what} waiting and takes {limit} at most, of one caller "
        f"less; {more:.0f} more do not fit. Try again after the delay that this error names, or "
        f"let the operator add replicas or raise ISOGLOSS_INFERENCE_{setting}.",
        metadata={"waiting": f"{waiting:.0f}", "limit": str(limit), "what": what},
        retry_after=_bounded(wait),
    )


def _bounded(wait: float) -> float:
    return min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT)
