"""What training does when nobody says otherwise: ranges, defaults by size, and why.

Needs no torch, so that the API can show a plan. `docs/training.md` holds the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


class Preset(StrEnum):
    """How much time the training may take for its quality."""

    FAST = "fast"
    BALANCED = "balanced"
    THOROUGH = "thorough"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The values that a hyperparameter may take, both ends included."""

    least: float
    most: float


RANGES = {
    "epochs": Range(least=1, most=100),
    "max_steps": Range(least=1, most=10_000_000),
    "learning_rate": Range(least=1e-6, most=1e-2),
    "head_learning_rate": Range(least=1e-6, most=1),
    "batch_size": Range(least=2, most=256),
    "warmup": Range(least=0, most=0.5),
    "weight_decay": Range(least=0, most=1),
    "label_smoothing": Range(least=0, most=0.5),
    "layer_decay": Range(least=0.1, most=1),
    "frozen_layers": Range(least=0, most=100),
    "contrastive_weight": Range(least=0, most=10),
    "contrastive_temperature": Range(least=0.01, most=1),
    "anchor_weight": Range(least=0, most=10),
    "class_balance": Range(least=0, most=1),
    "average_decay": Range(least=0, most=0.9999),
    "dropout": Range(least=0, most=0.5),
    "token_dropout": Range(least=0, most=0.5),
    "max_tokens": Range(least=8, most=512),
    "matryoshka_dimensions": Range(least=8, most=4096),
    "seed": Range(least=0, most=2**31 - 1),
}
"""By the names of `Hyperparameters`' fields, for each of several numbers; those without a range are
no numbers."""

MOST_CUTS = 8
"""Of `matryoshka_dimensions`: each costs a product with the head in every step."""

METRIC_POINTS = 10
"""Measurements on held-out rows after step 0, evenly spread; a shorter run has one a step."""

_LEARNING_RATE = 1e-4
_HEAD_RATE = 10.0
# The head learns ten times as fast as the encoder: it is one layer, without depth to upset.

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

_EPOCHS_FACTOR = {Preset.FAST: 0.5, Preset.BALANCED: 1.0, Preset.THOROUGH: 2.0}

_WARMUP = 0.1
_WEIGHT_DECAY = 0.01
_TOKEN_DROPOUT = 0.15
_CONTRASTIVE_TEMPERATURE = 0.1
_AVERAGE_DECAY = 0.99
# The published weights are a moving average over about the last 100 steps.

GRADIENT_NORM = 1.0

CROSS_FITTED_BELOW = 1000
"""Fewer training rows are too few to give any away: what is chosen on held-out rows is then
chosen on folds of a second training, and all rows are learnt from."""

FOLDS = 5
_FOLDS_FITTED = {Preset.FAST: 1, Preset.BALANCED: 1, Preset.THOROUGH: 3}
# One fold of five costs four fifths of the training again; its 100 to 200 rows fix a temperature
# to about a tenth.

_DEV_SHARE = 0.1
_MOST_DEV_ROWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What the caller asks for; None leaves the choice to the recipe. See `RANGES`."""

    preset: Preset | None = None
    epochs: int | None = None
    max_steps: int | None = None
    learning_rate: float | None = None
    head_learning_rate: float | None = None
    batch_size: int | None = None
    warmup: float | None = None
    weight_decay: float | None = None
    label_smoothing: float | None = None
    layer_decay: float | None = None
    frozen_layers: int | None = None
    contrastive_weight: float | None = None
    contrastive_temperature: float | None = None
    anchor_weight: float | None = None
    class_balance: float | None = None
    average_decay: float | None = None
    dropout: float | None = None
    token_dropout: float | None = None
    max_tokens: int | None = None
    matryoshka_dimensions: Sequence[int] | None = None
    """Ascending."""

    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the recipe looks at when it chooses."""

    rows: int
    """To train on, at least 1."""

    labels: int
    """Different ones."""

    layers: int
    """Of the encoder."""

    max_tokens: int
    """That the base reads of a text."""

    matryoshka_dimensions: tuple[int, ...] = ()
    """Lengths to which the base's embeddings may be cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run will do. The fields of `Hyperparameters` mean the same here, decided."""

    preset: Preset
    epochs: int
    max_steps: int
    """At least what `epochs` come to."""

    learning_rate: float
    """Of the encoder's uppermost layer, at its peak."""

    head_learning_rate: float
    batch_size: int
    warmup: float
    weight_decay: float
    label_smoothing: float
    layer_decay: float
    frozen_layers: int
    contrastive_weight: float
    contrastive_temperature: float
    anchor_weight: float
    class_balance: float
    average_decay: float
    dropout: float | None
    """None is the base's own."""

    token_dropout: float

    max_tokens: int
    matryoshka_dimensions: tuple[int, ...]
    """To which numbers embeddings may be cut; the loss is a mean over them and the whole."""

    seed: int
    dev_rows: int
    """About how many rows are kept from training to choose on."""

    folds_fitted: int
    """How many of `FOLDS` folds are held out in turn, each from a training of its own on the rest,
    to choose on; 0 where there are `dev_rows`."""

    def steps(self, rows: int) -> int:
        """Return the steps of a training on that many rows."""
        return min(self.max_steps, self.epochs * math.ceil(rows / self.batch_size))

    def rate(self, step: int, steps: int) -> float:
        """Return the factor on the learning rates: above 0, at most 1.

        It rises linearly while the run warms up, then falls linearly to 0.

        Args:
            step: Counted from 0.
            steps: Of the whole training.
        """
        warm = round(self.warmup * steps)
        return (step + 1) / (warm + 1) if step < warm else (steps - step) / (steps - warm)

    def hyperparameters(self) -> dict[str, Any]:
        """Return what is used, by the names of `Hyperparameters`, without what the base decides."""
        used = {field.name: getattr(self, field.name) for field in fields(Hyperparameters)}
        return {name: value for name, value in used.items() if value is not None}


def plan(asked: Hyperparameters, shape: Shape) -> Plan:
    """Fill in what was left open. The same arguments give the same plan.

    Args:
        asked: Within `RANGES`; not checked here.
        shape: Of the rows and the base.
    """
    # A name as well: what was written down as JSON comes back as text.
    preset = Preset(asked.preset or Preset.BALANCED)
    dev_rows = _dev_rows(shape.rows)
    learnt = shape.rows - dev_rows
    batch_size = asked.batch_size or (_BATCH_SIZE if learnt < _LARGE else _LARGE_BATCH_SIZE)
    epochs = asked.epochs or _epochs(shape, learnt, preset)
    whole = epochs * math.ceil(shape.rows / batch_size)
    learning_rate = asked.learning_rate or _LEARNING_RATE
    half = shape.layers // 2 if preset is Preset.FAST else 0
    return Plan(
        preset=preset,
        epochs=epochs,
        max_steps=asked.max_steps or whole,
        learning_rate=learning_rate,
        head_learning_rate=asked.head_learning_rate or _HEAD_RATE * learning_rate,
        batch_size=batch_size,
        warmup=_given(asked.warmup, _WARMUP),
        weight_decay=_given(asked.weight_decay, _WEIGHT_DECAY),
        label_smoothing=_given(asked.label_smoothing, 0.0),
        layer_decay=_given(asked.layer_decay, 1.0),
        frozen_layers=min(
            shape.layers, half if asked.frozen_layers is None else asked.frozen_layers
        ),
        contrastive_weight=_given(asked.contrastive_weight, 0.0),
        contrastive_temperature=asked.contrastive_temperature or _CONTRASTIVE_TEMPERATURE,
        anchor_weight=_given(asked.anchor_weight, 0.0),
        class_balance=_given(asked.class_balance, 0.0),
        average_decay=_given(asked.average_decay, _AVERAGE_DECAY),
        dropout=asked.dropout,
        token_dropout=_given(asked.token_dropout, _TOKEN_DROPOUT),
        max_tokens=min(shape.max_tokens, asked.max_tokens or shape.max_tokens),
        matryoshka_dimensions=tuple(asked.matryoshka_dimensions or _cuts(shape)),
        seed=asked.seed or 0,
        dev_rows=dev_rows,
        folds_fitted=0 if dev_rows else _FOLDS_FITTED[preset],
    )


def _given(asked: float | None, otherwise: float) -> float:
    return otherwise if asked is None else asked


def _cuts(shape: Shape) -> tuple[int, ...]:
    """Return what a caller could have asked for of the base's lengths: its full one is none."""
    least, most = RANGES["matryoshka_dimensions"].least, RANGES["matryoshka_dimensions"].most
    return tuple(n for n in shape.matryoshka_dimensions if least <= n <= most)[-MOST_CUTS:]


def _dev_rows(rows: int) -> int:
    return 0 if rows < CROSS_FITTED_BELOW else min(_MOST_DEV_ROWS, round(_DEV_SHARE * rows))


def _epochs(shape: Shape, learnt: int, preset: Preset) -> int:
    few = shape.rows < _MANY_ROWS_PER_LABEL * shape.labels
    epochs = min(_MOST_EPOCHS, max(_LEAST_EPOCHS, _EPOCHS_AT_1000 * math.sqrt(1000 / learnt)))
    return max(1, round(epochs * (_FEW_ROWS_FACTOR if few else 1) * _EPOCHS_FACTOR[preset]))
