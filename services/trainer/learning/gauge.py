"""Scoring held-out rows while the model learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.trainer.encoder import SentenceEncoder, embed
from services.trainer.evaluation import Evaluation, evaluate, evaluate_sets
from services.trainer.head import Head
from services.trainer.learning.calibration import DEFAULT_THRESHOLD
from services.trainer.learning.listening import StepMetrics
from services.trainer.learning.selection import Rows
from services.trainer.learning.targets import Targets, is_multi
from services.trainer.recipe import METRIC_POINTS
from services.trainer.tokenize import TokenIds

_METRIC_COST = 0.1
_STEP_COST = 3
# A row costs three times as much to train on (forward and backward) as to embed. All metric
# points together may take a tenth of the training's time; held-out rows beyond that are left to
# the evaluation at the end.
_LEAST_METRIC_ROWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """Held-out rows, and how they are scored."""

    tokens: TokenIds
    targets: Targets
    labels: Sequence[str]
    positive_label: str | None
    pad_token_id: int

    def measure(
        self,
        encoder: SentenceEncoder,
        head: Head,
        *,
        step: int,
        epoch: float,
        train_loss: float | None = None,
    ) -> StepMetrics:
        """Score the rows after a step; labels judged by themselves are given from 0.5 on."""
        embeddings = embed(encoder, self.tokens, self.pad_token_id)
        scores = self._evaluate(head.probabilities(embeddings))
        return StepMetrics(
            step=step,
            epoch=epoch,
            loss=scores.log_loss,
            accuracy=scores.accuracy,
            precision=scores.precision,
            recall=scores.recall,
            f1=scores.f1,
            train_loss=train_loss,
        )

    def _evaluate(self, chances: np.ndarray) -> Evaluation:
        if is_multi(self.targets):
            return evaluate_sets(
                probabilities=chances,
                truth=self.targets,
                thresholds=np.full(len(self.labels), DEFAULT_THRESHOLD),
                labels=self.labels,
            )
        return evaluate(
            probabilities=chances,
            label_ids=self.targets,
            labels=self.labels,
            positive_label=self.positive_label,
        )


def is_metric_point(step: int, steps: int) -> bool:
    """Tell whether held-out rows are scored after that many steps; the last always is."""
    points = min(METRIC_POINTS, steps)
    return step * points // steps > (step - 1) * points // steps


def metric_rows(held_out: int, seen: int) -> Rows:
    """Choose the held-out rows that the metric points look at: the same at every point.

    Args:
        held_out: How many there are.
        seen: How often the run looks at a row, over all epochs.
    """
    affordable = int(_METRIC_COST * _STEP_COST * seen / METRIC_POINTS)
    count = min(held_out, max(_LEAST_METRIC_ROWS, affordable))
    return np.sort(np.random.default_rng(0).permutation(held_out)[:count])
