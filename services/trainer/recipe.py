"""What training does when nobody says otherwise: ranges, defaults by size, and why.

Needs no torch, so that the API can show a plan. `docs/training.md` holds the measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The values that a hyperparameter may take, both ends included."""

    least: float
    most: float


RANGES = {
    "epochs": Range(least=1, most=100),
    "learning_rate": Range(least=1e-6, most=1e-2),
    "batch_size": Range(least=2, most=256),
    "seed": Range(least=0, most=2**31 - 1),
}
"""By the names of `Hyperparameters`' fields."""

METRIC_POINTS = 10
"""Measurements on held-out rows after step 0, evenly spread; a shorter run has one a step."""

_LEARNING_RATE = 1e-4
HEAD_RATE = 10.0
"""The head learns ten times as fast as the encoder: it is one layer, without depth to upset."""

_BATCH_SIZE = 32
_LARGE = 10_000
_LARGE_BATCH_SIZE = 64
# From 10,000 rows on, steps are plenty and larger products are cheaper per row.

_EPOCHS_AT_1000 = 4
_LEAST_EPOCHS = 3
_MOST_EPOCHS = 8
# epochs = 4 * sqrt(1000 / rows): 250 rows 8 (64 steps of 32), 1,000 rows 4 (128 steps), from
# 2,500 rows on 3.

_MANY_ROWS_PER_LABEL = 50
_FEW_ROWS_FACTOR = 2
# Twice the epochs where a label has fewer than 50 rows: many labels have to be pulled apart by
# few rows each, and the model is still too unsure of itself when two labels would long be learnt.

_WARMUP_SHARE = 0.1

_CALIBRATION_SHARE = 0.1
_MOST_CALIBRATION_ROWS = 1000
# Kept back where a label has many rows. With 10 a label, a tenth of them is worth more to the
# training than to the temperature, which stays at 1.

EMA_DECAY = 0.99
"""The published weights are a moving average over about the last 100 steps."""

WEIGHT_DECAY = 0.01
GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What the caller asks for; None leaves the choice to the recipe. See `RANGES`."""

    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run will do."""

    epochs: int
    learning_rate: float
    """Of the encoder, at its peak; the head's is `HEAD_RATE` times that."""

    batch_size: int
    seed: int
    total_steps: int
    calibration_rows: int
    """Kept back from training to choose the temperature; 0 leaves the temperature at 1."""

    warmup_steps: int
    """The learning rate rises linearly over these steps, then falls linearly to 0."""

    def rate(self, step: int) -> float:
        """Return the factor on the learning rates at a step, counted from 0: above 0, at most 1."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        return (self.total_steps - step) / (self.total_steps - self.warmup_steps)

    def is_measured(self, step: int) -> bool:
        """Tell whether held-out rows are scored after that many steps; the last always is."""
        points = min(METRIC_POINTS, self.total_steps)
        return step * points // self.total_steps > (step - 1) * points // self.total_steps


def plan(hyperparameters: Hyperparameters, *, rows: int, labels: int) -> Plan:
    """Fill in what was left open. The same arguments give the same plan.

    Args:
        hyperparameters: Within `RANGES`; not checked here.
        rows: To train on, at least 1.
        labels: Different labels.
    """
    few = rows < _MANY_ROWS_PER_LABEL * labels
    calibration_rows = 0 if few else min(_MOST_CALIBRATION_ROWS, round(_CALIBRATION_SHARE * rows))
    learnt = rows - calibration_rows
    batch_size = hyperparameters.batch_size or (
        _BATCH_SIZE if learnt < _LARGE else _LARGE_BATCH_SIZE
    )
    epochs = hyperparameters.epochs or _epochs(learnt, few=few)
    total_steps = epochs * math.ceil(learnt / batch_size)
    return Plan(
        epochs=epochs,
        learning_rate=hyperparameters.learning_rate or _LEARNING_RATE,
        batch_size=batch_size,
        seed=hyperparameters.seed,
        total_steps=total_steps,
        calibration_rows=calibration_rows,
        warmup_steps=round(_WARMUP_SHARE * total_steps),
    )


def _epochs(rows: int, *, few: bool) -> int:
    epochs = min(_MOST_EPOCHS, max(_LEAST_EPOCHS, _EPOCHS_AT_1000 * math.sqrt(1000 / rows)))
    return round(epochs * _FEW_ROWS_FACTOR if few else epochs)
