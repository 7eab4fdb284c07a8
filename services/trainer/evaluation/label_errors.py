"""Training rows whose label is probably wrong, by confident learning.

C. Northcutt, L. Jiang and I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset
Labels", JAIR 70 (2021). Written here because it is a page of arithmetic, and the package that
implements it brings pandas and tqdm with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.trainer.evaluation.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelError:
    """A row that heads which did not learn from it would label otherwise."""

    row: int
    given: tuple[int, ...]
    """The labels that it has."""

    suggested: tuple[int, ...]
    confidence: float
    """How probable the labels that it has are, 0 to 1: the less, the more suspicious."""


def find(probabilities: FloatArray, truth: BoolArray, *, single: bool) -> list[LabelError]:
    """Return the suspicious rows, the most suspicious first.

    Args:
        probabilities: [N, K], from heads that did not learn from the row.
        truth: [N, K], the labels as given.
        single: Whether each row has one label.
    """
    found = _single(probabilities, truth) if single else _several(probabilities, truth)
    return sorted(found, key=lambda error: (error.confidence, error.row))


def _single(probabilities: FloatArray, truth: BoolArray) -> list[LabelError]:
    given = truth.argmax(axis=1)
    own = probabilities[np.arange(len(given)), given]
    # A row counts for a label where it is as sure of it as that label's own rows are on average.
    confident = np.where(probabilities >= _thresholds(probabilities, truth), probabilities, -1.0)
    likely: IntArray = confident.argmax(axis=1)
    suspicious = (confident.max(axis=1) > 0) & (likely != given)
    suspicious &= probabilities[np.arange(len(given)), likely] > own
    # Who has a label alone was judged by heads that never saw the label.
    suspicious &= truth.sum(axis=0)[given] > 1
    return [
        LabelError(
            row=int(row),
            given=(int(given[row]),),
            suggested=(int(likely[row]),),
            confidence=float(own[row]),
        )
        for row in np.flatnonzero(suspicious)
    ]


def _several(probabilities: FloatArray, truth: BoolArray) -> list[LabelError]:
    """Judge each label alone, as having it or not."""
    missing = (~truth) & (probabilities >= _thresholds(probabilities, truth))
    needless = truth & (1 - probabilities >= _thresholds(1 - probabilities, ~truth))
    wrong = (missing & (probabilities > 1 / 2)) | (needless & (probabilities < 1 / 2))
    # As above: who has a label alone, or lacks it alone.
    having = truth.sum(axis=0)
    wrong &= np.where(truth, having > 1, len(truth) - having > 1)
    own = np.where(truth, probabilities, 1 - probabilities)
    return [
        LabelError(
            row=int(row),
            given=_ids(truth[row]),
            suggested=_ids(truth[row] ^ wrong[row]),
            confidence=float(own[row][wrong[row]].min()),
        )
        for row in np.flatnonzero(wrong.any(axis=1))
    ]


def _thresholds(probabilities: FloatArray, truth: BoolArray) -> FloatArray:
    """Return the mean probability of each label over the rows that have it; 2 where none has."""
    counts = truth.sum(axis=0)
    sums = (probabilities * truth).sum(axis=0)
    result: FloatArray = np.where(counts > 0, sums / np.maximum(counts, 1), 2.0)
    return result


def _ids(row: BoolArray) -> tuple[int, ...]:
    return tuple(int(label) for label in np.flatnonzero(row))
