"""Models on the same rows, from predictions that were made before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from services.trainer.evaluation.decisions import Decisions
from services.trainer.evaluation.predictions import Predictions
from services.trainer.evaluation.significance import Difference, Spread, difference, spreads

_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two of the models, by their places."""

    first: int
    second: int
    difference: Difference
    """What the second has over the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """M models."""

    rows: int
    """What all of them scored."""

    left_out: int
    """Rows that some of them scored and others did not, or that had other labels then."""

    spreads: tuple[Spread, ...]
    """[M]"""

    pairs: tuple[Pair, ...]
    """Every two of them."""


def compare(models: Sequence[Predictions]) -> Comparison:
    """Compare at least two models row by row; F1 is the mean over labels.

    Raises:
        ValueError: Where they have no row in common.
    """
    decisions, left_out = _align(models)
    if len(decisions[0]) == 0:
        raise ValueError("The models have no row in common.")
    return Comparison(
        rows=len(decisions[0]),
        left_out=left_out,
        spreads=tuple(spreads(decisions, label=None, seed=_SEED)),
        pairs=tuple(
            Pair(
                first=first,
                second=second,
                difference=difference(decisions[first], decisions[second], label=None, seed=_SEED),
            )
            for first, second in combinations(range(len(models)), 2)
        ),
    )


def _align(models: Sequence[Predictions]) -> tuple[list[Decisions], int]:
    """Return the decisions on common rows in one order, and how many rows are not common."""
    places = [{key: row for row, key in enumerate(model.keys)} for model in models]
    everything = set().union(*places)
    common = [key for key in models[0].keys if all(key in place for place in places)]
    rows = [[place[key] for key in common] for place in places]
    actual = [
        [model.labels[row] for row in chosen] for model, chosen in zip(models, rows, strict=True)
    ]
    alike = [
        number for number, labels in enumerate(zip(*actual, strict=True)) if len(set(labels)) == 1
    ]
    predicted = [
        [model.predicted[chosen[number]] for number in alike]
        for model, chosen in zip(models, rows, strict=True)
    ]
    truth = [actual[0][number] for number in alike]
    names = sorted({label for part in (truth, *predicted) for row in part for label in row})
    index = {label: number for number, label in enumerate(names)}
    decisions = [Decisions.named(truth, given, index) for given in predicted]
    return decisions, len(everything) - len(alike)
