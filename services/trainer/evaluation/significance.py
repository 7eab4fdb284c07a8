"""How much of a figure, or of a difference, is luck of the rows that were scored.

Rows are drawn again with replacement (Efron, 1979): the same draw for all models of a comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from services.trainer.evaluation.arrays import FloatArray
from services.trainer.evaluation.decisions import Decisions, ratio

LEVEL = 0.95
"""Share of the draws that lie within an interval."""

_MOST_RESAMPLES = 1000
_LEAST_RESAMPLES = 200
_DRAWN_ROWS = 20_000_000
# 1,000 draws of up to 20,000 rows take about a second; of a million rows there are 200.

_BLOCK_NUMBERS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and where it would lie on other rows of the same kind, 19 times of 20."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The intervals of one model's figures."""

    accuracy: Interval
    f1: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What the second model has over the first on the same rows."""

    accuracy: Interval
    f1: Interval
    only_first: int
    """Rows that the first alone got right."""

    only_second: int
    both: int
    neither: int
    accuracy_p_value: float
    """McNemar's exact test, two-sided: how often two equally good models would differ so much."""

    f1_p_value: float
    """The same of F1, by the draws; never below one in their number."""


def spreads(models: Sequence[Decisions], *, label: int | None, seed: int) -> list[Spread]:
    """Return the intervals of accuracy and F1 of models on the same rows.

    Args:
        models: What each decided.
        label: Whose F1; None: the mean over labels.
        seed: Of the draws.
    """
    figures = [_figures(model, _whole(model), label)[:, 0] for model in models]
    drawn = _resampled(models, label, seed)
    return [
        Spread(
            accuracy=_interval(float(value[0]), draws[0]), f1=_interval(float(value[1]), draws[1])
        )
        for value, draws in zip(figures, drawn, strict=True)
    ]


def difference(first: Decisions, second: Decisions, *, label: int | None, seed: int) -> Difference:
    """Compare two models on the same rows, row by row; arguments are those of `spreads`."""
    exact = [_figures(model, _whole(model), label)[:, 0] for model in (first, second)]
    before, after = _resampled((first, second), label, seed)
    changes, value = after - before, exact[1] - exact[0]
    alone = first.right & ~second.right, second.right & ~first.right
    only = int(alone[0].sum()), int(alone[1].sum())
    return Difference(
        accuracy=_interval(float(value[0]), changes[0]),
        f1=_interval(float(value[1]), changes[1]),
        only_first=only[0],
        only_second=only[1],
        both=int((first.right & second.right).sum()),
        neither=int((~first.right & ~second.right).sum()),
        accuracy_p_value=mcnemar(*only),
        f1_p_value=_two_sided(changes[1]),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value (McNemar, 1947; binomial form).

    Args:
        only_first: Rows that the first model alone got right.
        only_second: Rows that the second alone got right.
    """
    total = only_first + only_second
    return (
        1.0 if total == 0 else min(1.0, 2 * float(bdtr(min(only_first, only_second), total, 0.5)))
    )


def _resampled(models: Sequence[Decisions], label: int | None, seed: int) -> list[FloatArray]:
    """Return accuracy and F1 of each model in each draw, [2, draws] a model."""
    drawn: list[list[FloatArray]] = [[] for _ in models]
    for weights in _weights(len(models[0]), seed):
        for found, model in zip(drawn, models, strict=True):
            found.append(_figures(model, weights, label))
    return [np.concatenate(found, axis=1) for found in drawn]


def _weights(rows: int, seed: int) -> Iterator[FloatArray]:
    """Yield blocks [rows, draws] of how often each row is drawn."""
    random = np.random.default_rng(seed)
    left = int(np.clip(_DRAWN_ROWS // rows, _LEAST_RESAMPLES, _MOST_RESAMPLES))
    while left > 0:
        size = min(left, max(1, _BLOCK_NUMBERS // rows))
        draws = [np.bincount(random.integers(0, rows, rows), minlength=rows) for _ in range(size)]
        yield np.stack(draws, axis=1).astype(np.float32)
        left -= size


def _whole(model: Decisions) -> FloatArray:
    return np.ones((len(model), 1), dtype=np.float32)


def _figures(model: Decisions, weights: FloatArray, label: int | None) -> FloatArray:
    """Return accuracy and F1, [2, draws], where rows count as often as `weights` says."""
    right = model.right.astype(np.float32)
    accuracy = right @ weights / weights.sum(axis=0)
    hits, given, support = (
        part.T @ weights for part in (model.hits, model.given, model.truth)
    )  # [K, draws]
    seen = given + support > 0
    f1 = ratio(2 * hits, given + support)
    chosen = ratio(f1.sum(axis=0), seen.sum(axis=0)) if label is None else f1[label]
    return np.stack([accuracy, chosen])


def _interval(value: float, draws: FloatArray) -> Interval:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=value, low=float(low), high=float(high))


def _two_sided(changes: FloatArray) -> float:
    least = min(int((changes <= 0).sum()), int((changes >= 0).sum()))
    return min(1.0, 2 * (least + 1) / (len(changes) + 1))
