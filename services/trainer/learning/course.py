"""What happens between the steps of a run: stop, tell the progress, measure, keep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from services.trainer.encoder import SentenceEncoder
from services.trainer.learning import snapshot
from services.trainer.learning.fitting import Fitting
from services.trainer.learning.gauge import Gauge, is_metric_point
from services.trainer.learning.group import ALONE, Group
from services.trainer.learning.keeper import Keeper
from services.trainer.learning.listening import Cancelled, Diverged, Listener, Progress
from services.trainer.learning.regression import Regression
from services.trainer.learning.snapshot import Losses, Snapshot
from services.trainer.recipe import Plan


class Course:
    """The steps of a run, from the first to the last.

    Args:
        plan: What the run does.
        listener: Told of every step and measurement.
        should_stop: Asked before every step.
        gauge: Scores held-out rows; None where there are none.
        keeper: Keeps the training on its way.
        group: The workers that take the same steps; what stops one stops all at the same step.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        listener: Listener,
        should_stop: Callable[[], bool],
        gauge: Gauge | None,
        keeper: Keeper,
        group: Group = ALONE,
    ) -> None:
        """Keep the parts."""
        self._plan = plan
        self._listener = listener
        self._should_stop = should_stop
        self._gauge = gauge
        self._keeper = keeper
        self._group = group
        self._done = 0
        self._first = 0
        self._steps = 1
        self._total_steps = 0
        self._begin = time.monotonic()

    def expect(self, steps: Iterable[int]) -> None:
        """Take note of how many steps each training of the run will have."""
        self._total_steps = sum(steps)

    def measure_baseline(self, encoder: SentenceEncoder, baseline: Regression) -> None:
        """Score what the training has to beat: step 0."""
        if self._gauge is not None:
            metrics = self._gauge.measure(encoder, baseline.head, step=0, epoch=0.0)
            self._listener.on_metrics(metrics)

    def learn(self, fitting: Fitting, baseline: Regression, found: Snapshot | None) -> None:
        """Carry out the training that is published.

        Args:
            fitting: Not begun.
            baseline: Kept with the training, so that it is fitted once.
            found: Where it was; None at the beginning.

        Raises:
            Cancelled: After keeping the training as it is.
            Diverged: Where the loss is no longer a number; such a step is not kept.
        """
        losses = Losses()
        if found is not None:
            snapshot.restore(found, fitting.learner)
            losses = found.losses
            self._done = self._first = found.step
        self._steps = fitting.steps
        self._begin = time.monotonic()
        self._tell()

        def keep(*, now: bool) -> None:
            self._keeper.save(
                fitting.learner,
                step=self._done,
                losses=losses,
                baseline=baseline,
                now=now,
            )

        def before(_: int) -> None:
            if self._is_stopped():
                keep(now=True)
                raise Cancelled("The run was asked to stop.")

        def after(done: int, loss: float) -> None:
            _check(loss)
            self._done = done
            losses.add(loss)
            self._tell()
            if self._gauge is not None and is_metric_point(done, fitting.steps):
                self._measure(self._gauge, fitting, losses.settle())
            keep(now=done == fitting.steps < self._total_steps)

        fitting.run(self._done, before=before, after=after)

    def rehearse(self, fitting: Fitting) -> None:
        """Carry out a training on some of the rows, whose answers on the others are of use.

        Raises:
            Cancelled: Within a step.
            Diverged: Where the loss is no longer a number.
        """
        begun = self._done

        def before(_: int) -> None:
            if self._is_stopped():
                raise Cancelled("The run was asked to stop.")

        def after(done: int, loss: float) -> None:
            _check(loss)
            self._done = begun + done
            self._tell()

        fitting.run(0, before=before, after=after)

    def _is_stopped(self) -> bool:
        return self._group.total(float(self._should_stop())) > 0

    def _measure(self, gauge: Gauge, fitting: Fitting, train_loss: float) -> None:
        with fitting.learner.average.applied():
            metrics = gauge.measure(
                fitting.encoder,
                fitting.learner.head,
                step=self._done,
                epoch=self._epoch(),
                train_loss=train_loss,
            )
        self._listener.on_metrics(metrics)

    def _tell(self) -> None:
        taken = self._done - self._first
        left = self._total_steps - self._done
        spent = time.monotonic() - self._begin
        self._listener.on_progress(
            Progress(
                step=self._done,
                total_steps=self._total_steps,
                epoch=self._epoch(),
                epochs=self._plan.epochs,
                eta_seconds=spent / taken * left if taken else None,
            )
        )

    def _epoch(self) -> float:
        return self._plan.epochs * min(1.0, self._done / self._steps)


def _check(loss: float) -> None:
    if not math.isfinite(loss):
        raise Diverged
