"""What a load generator is asked for and what it tells. Sends nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bench.inference.processes import Contender


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Calls of one kind."""

    texts: str
    """JSON file of a list of texts, which are sent in that order, over and over."""

    model: str
    batch: int = 1
    """Texts of a call."""

    concurrency: int = 1
    """Calls under way, where there is no `rate`."""

    rate: float = 0.0
    """Calls a second at random moments, however many are under way; 0 for a closed lane."""

    timeout: float = 60.0
    """Deadline of a call, in seconds."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request, such as its priority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send, and which part of it to count.

    The window begins when the first lane has had `warm_texts` answered and `warm_seconds` are
    over; it ends after `count_texts` more, after `seconds`, or once there is a file `until`.
    """

    address: str
    """Of the server; several of one service as gRPC takes them."""

    pid: int = 0
    """Whose processor time to read, with that of its children; 0 for nobody's."""

    lanes: Mapping[str, Lane]
    warm_texts: int = 0
    warm_seconds: float = 0.0
    count_texts: int = 0
    seconds: float = 0.0
    until: str = ""
    retries: bool = False
    """Whether calls are repeated and spread over servers as our client does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What became of a call."""

    began: float
    """Seconds after the window's begin; less than 0 before it."""

    seconds: float
    code: str
    texts: int
    said: str = ""
    """The first words of an error."""

    @property
    def ended(self) -> float:
        """Seconds after the window's begin."""
        return self.began + self.seconds

    @property
    def good(self) -> bool:
        """Whether it was answered."""
        return self.code == "OK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a load."""

    start: float
    """When the window began, on this machine's monotonic clock."""

    seconds: float
    """Length of the window."""

    cpu_seconds: float
    """Of the server, in the window."""

    lanes: Mapping[str, Sequence[Call]]

    lateness: Sequence[float] = ()
    """Seconds by which the generator itself woke up too late, sampled all the time: an answer is
    seen as much later than it came."""

    def texts(self, lane: str) -> int:
        """Texts that were answered in the window."""
        calls = self.lanes[lane]
        return sum(call.texts for call in calls if call.good and 0 <= call.ended <= self.seconds)

    def rate(self, lane: str) -> float:
        """Texts that were answered a second."""
        return self.texts(lane) / self.seconds

    def begun(self, lane: str) -> list[Call]:
        """Calls that began in the window."""
        return [call for call in self.lanes[lane] if 0 <= call.began < self.seconds]


def send(generator: Contender, load: Load) -> Outcome:
    """Let a load generator send a load.

    Raises:
        ContenderFailed: Where it ends instead.
    """
    told = generator.ask(asdict(load))
    lanes = {name: [Call(**call) for call in calls] for name, calls in told.pop("lanes").items()}
    return Outcome(**told, lanes=lanes)


def latency(calls: Iterable[Call], quantile: float) -> float:
    """Return a quantile of the seconds of calls that were answered.

    Raises:
        ValueError: Where none was.
    """
    seconds = [call.seconds for call in calls if call.good]
    if not seconds:
        raise ValueError("no call was answered")
    return float(np.quantile(seconds, quantile))
