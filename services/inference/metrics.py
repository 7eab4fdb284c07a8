"""What the inference service adds to the metrics: the queue, the batches, the models, the phases.

Reads the snapshots that scheduler and models give anyway; only phases are noted call by call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.common.metrics import SECONDS
from services.inference.model import Timings
from services.inference.model_stats import ModelsStats
from services.inference.scheduling.priority import Priority
from services.inference.scheduling.stats import SchedulerStats

_PREFIX = "isogloss_inference_"


class Phases:
    """How long calls wait, are read and are computed, by priority."""

    def __init__(self) -> None:
        """Count from zero."""
        self.histogram = Histogram(
            f"{_PREFIX}phase_seconds",
            "Time of a call in the queue, tokenising and inferring; workers' time is added up.",
            ["phase", "priority"],
            buckets=SECONDS,
            registry=None,
        )
        self._children = {
            priority: tuple(
                self.histogram.labels(phase, priority) for phase in ("queue", "tokenise", "infer")
            )
            for priority in Priority
        }

    def note(self, priority: Priority, timings: Timings) -> None:
        """Note one call that was computed."""
        queue, tokenise, infer = self._children[priority]
        queue.observe(timings.queue)
        tokenise.observe(timings.tokenise)
        infer.observe(timings.infer)


class QueueMetrics(Collector):
    """What the scheduler counts.

    Args:
        look: Takes a snapshot.
    """

    def __init__(self, look: Callable[[], SchedulerStats]) -> None:
        """Keep how to look."""
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Yield one look."""
        now = self._look()
        texts = _gauge("waiting_texts", "Texts that wait.", ["priority"])
        tokens = _gauge("waiting_tokens", "Their tokens, partly estimated.", ["priority"])
        seconds = _gauge("waiting_seconds", "What they will take one worker.", ["priority"])
        for priority, waiting in now.waiting.items():
            texts.add_metric([priority], waiting.texts)
            tokens.add_metric([priority], waiting.tokens)
            seconds.add_metric([priority], waiting.seconds)
        yield from (texts, tokens, seconds)
        yield _gauge("waiting_bytes", "Memory of texts not read yet.", value=now.waiting_bytes)
        yield _gauge("busy_workers", "Workers that have work.", value=now.running)
        yield _counter("taken", "Calls that were taken.", now.calls)
        shed = CounterMetricFamily(
            f"{_PREFIX}shed", "Calls that were not computed, by reason.", labels=["reason"]
        )
        for reason, count in now.shed.items():
            shed.add_metric([reason], count)
        yield shed
        yield _counter("batches", "Batches that ran.", now.batches)
        yield _counter("texts", "Texts in them.", now.texts)
        yield _counter("tokens", "Tokens of these texts.", now.tokens)
        yield _counter("padded_tokens", "Tokens computed, padding included.", now.padded_tokens)
        yield _counter(
            "predicted_seconds", "What batches were expected to take.", now.predicted_seconds
        )
        yield _counter("measured_seconds", "What batches took.", now.measured_seconds)


class ModelMetrics(Collector):
    """What is counted of the models in memory; all together, as their names are tenants' own.

    Args:
        look: Takes a snapshot.
    """

    def __init__(self, look: Callable[[], ModelsStats]) -> None:
        """Keep how to look."""
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Yield one look."""
        now = self._look()
        yield _gauge("resident_models", "Models in memory.", value=len(now.residents))
        yield _gauge("resident_bytes", "Their memory.", value=now.size)
        yield _gauge("resident_bytes_limit", "Memory for models.", value=now.max_size)
        yield _gauge("loading_models", "Loads and looks under way.", value=now.loading)
        yield _counter("model_hits", "Calls whose model was in memory.", now.hits)
        yield _counter("model_misses", "Calls that waited for a look or a load.", now.misses)
        yield _counter("model_loads", "Models that were loaded.", now.loads)
        yield _counter("model_evictions", "Models that made room.", now.evictions)
        yield _counter("model_failures", "Models that could not be opened.", now.failures)
        down = now.outage_seconds is not None
        yield _gauge("store_up", "1 where the store answers, else 0.", value=int(not down))


def _gauge(
    name: str, documentation: str, labels: list[str] | None = None, *, value: float | None = None
) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}{name}", documentation, labels=labels, value=value)


def _counter(name: str, documentation: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}{name}", documentation, value=value)
