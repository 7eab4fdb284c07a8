"""What is scheduled: the texts of a call, first to be read and then computed in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.inference.scheduling.priority import Priority
from services.inference.scheduling.profiles import Profile

C = TypeVar("C")


@dataclass(slots=True, kw_only=True, eq=False)
class Job(Generic[C]):
    """The texts of one call. What is below the line is the scheduler's to change."""

    call: C
    """Whatever the caller of the scheduler knows it by."""

    profile: Profile
    """What is batched together: texts of one model, and of the same outputs."""

    max_tokens: int
    """Longest text of that model."""

    priority: Priority
    caller: str
    """Who takes turns with others."""

    sizes: Sequence[int]
    """Characters of each text, at least one text."""

    memory: int
    """Bytes that the texts take until they are read."""

    deadline: float
    """When nobody waits any more, by the scheduler's clock; infinite where it never ends."""

    # ---

    alive: bool = True
    """Whether anybody waits for it and no text of it was refused."""

    handed_out: int = 0
    """Texts that were given to a worker to read."""

    read: int = 0
    """Texts that were read."""

    items: dict[Item[C], None] = field(default_factory=dict)
    """Texts that are read and wait; a dictionary is a queue that can be left from the middle."""

    tokens_each: float = 0.0
    """Estimate for a text that is not read yet."""

    seconds_each: float = 0.0
    """As above."""


@dataclass(slots=True, kw_only=True, eq=False)
class Item(Generic[C]):
    """A text that is read and waits to be computed."""

    job: Job[C]
    position: int
    """In the call."""

    length: int
    """Its tokens."""

    seconds: float = 0.0
    """What was expected of it when it was counted into the backlog."""

    alone: bool = False
    """Whether it must not share a batch: one that it was in has failed."""


@dataclass(slots=True, kw_only=True, eq=False)
class Part(Generic[C]):
    """Some texts of a job, one after another."""

    job: Job[C]
    start: int
    stop: int
    """Position after the last."""


@dataclass(slots=True, kw_only=True, eq=False)
class Reading(Generic[C]):
    """Work for a worker: texts to read, of one model, priority and caller."""

    parts: list[Part[C]]


@dataclass(slots=True, kw_only=True, eq=False)
class Batch(Generic[C]):
    """Work for a worker: texts to compute in one run."""

    profile: Profile
    items: list[Item[C]]
    longest: int
    """Tokens that each is padded to."""

    seconds: float
    """What it is expected to take."""


Work = Reading[C] | Batch[C]
