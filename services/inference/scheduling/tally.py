"""Counts what the scheduler does."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from services.inference.scheduling.admission import Backlog
from services.inference.scheduling.stats import SchedulerStats, Shed, Waiting
from services.inference.scheduling.work import Batch

C = TypeVar("C")

# Weight of the latest batch in the mean of measured by expected seconds, and what is believed.
_MEAN_WEIGHT = 0.05
_LEAST_PACE, _MOST_PACE = 0.5, 2.0


class Tally:
    """Counters since the process began."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.calls = 0
        self.shed: Counter[Shed] = Counter()
        self.pace = 1.0
        """Seconds that texts take by those that were expected of them in full batches."""
        self._batches = self._texts = self._tokens = self._padded = 0
        self._predicted = self._measured = 0.0

    def ran(self, batch: Batch[C], seconds: float) -> None:
        """Count a batch that was computed in that many seconds."""
        self._batches += 1
        self._texts += len(batch.items)
        self._tokens += sum(item.length for item in batch.items)
        self._padded += len(batch.items) * batch.longest
        self._predicted += batch.seconds
        self._measured += seconds
        pace = seconds / sum(item.seconds for item in batch.items)
        pace = min(max(pace, _LEAST_PACE), _MOST_PACE)
        self.pace += _MEAN_WEIGHT * (pace - self.pace)

    def stats(self, backlog: Backlog, *, running: int) -> SchedulerStats:
        """Return all of them, and what waits and runs now."""
        return SchedulerStats(
            waiting={
                priority: Waiting(texts=load.texts, tokens=round(load.tokens), seconds=load.seconds)
                for priority, load in backlog.loads.items()
            },
            waiting_bytes=backlog.bytes,
            running=running,
            calls=self.calls,
            shed={reason: self.shed[reason] for reason in Shed},
            batches=self._batches,
            texts=self._texts,
            tokens=self._tokens,
            padded_tokens=self._padded,
            predicted_seconds=self._predicted,
            measured_seconds=self._measured,
        )
