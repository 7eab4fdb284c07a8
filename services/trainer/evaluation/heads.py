"""Heads that are fitted only to learn about rows: quick, on frozen embeddings, never published."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from services.trainer.evaluation.arrays import BoolArray, FloatArray, IntArray

_STRENGTH = 10.0
# The C that cross-validation chose, or one beside it, on every set that was tried with embeddings
# of length 1; half a decade either way moves accuracy by some tenths of a point.

_ITERATIONS = 200
_TOLERANCE = 3e-4
# Three times scikit-learn's: a third fewer iterations, and the same rows come out.

_FOLDS = 5

_MOST_ROWS = 20_000
_MOST_WEIGHTS = 1_000_000_000
_LEAST_ROWS_PER_LABEL = 5
# A fit's time grows with rows x labels x dimensions: 10,003 rows, 77 labels and 384 dimensions
# (3e8) take 2 s of a core, and an evaluation makes some eight fits.


def affordable(rows: int, labels: int, dimensions: int) -> int:
    """Return how many of so many rows the fits may have."""
    budget = _MOST_WEIGHTS // (labels * dimensions)
    return min(rows, _MOST_ROWS, max(budget, _LEAST_ROWS_PER_LABEL * labels))


def fitted_probabilities(
    embeddings: FloatArray, truth: BoolArray, asked: FloatArray, *, single: bool
) -> FloatArray:
    """Fit a head and ask it.

    Args:
        embeddings: [N, D] to learn from.
        truth: [N, K], whether a row has the label.
        asked: [M, D]
        single: Whether each row has one label.

    Returns:
        [M, K]; a label that no row has gets 0, and one that every row has 1.
    """
    with threadpool_limits(limits=1):
        if single:
            return _multinomial(embeddings, truth.argmax(axis=1), asked, truth.shape[1])
        columns = [_binary(embeddings, column, asked) for column in truth.T]
        return np.stack(columns, axis=1)


def cross_validated(
    embeddings: FloatArray, truth: BoolArray, *, single: bool, seed: int
) -> FloatArray:
    """Return what heads say of rows that they did not learn from, [N, K]; see the function above.

    Args:
        embeddings: [N, D]
        truth: [N, K]
        single: Whether each row has one label.
        seed: Of the folds.
    """
    found = np.zeros(truth.shape)
    for learnt, asked in _folds(truth, seed):
        found[asked] = fitted_probabilities(
            embeddings[learnt], truth[learnt], embeddings[asked], single=single
        )
    return found


def _folds(truth: BoolArray, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield rows to learn from and rows to ask; the rows of a first label are spread evenly."""
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(truth))
    by_label = shuffled[np.argsort(truth[shuffled].argmax(axis=1), kind="stable")]
    fold = np.empty(len(truth), dtype=np.int64)
    fold[by_label] = np.arange(len(truth)) % _FOLDS
    for number in range(min(_FOLDS, len(truth))):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _multinomial(
    embeddings: FloatArray, label_ids: IntArray, asked: FloatArray, labels: int
) -> FloatArray:
    found = np.zeros((len(asked), labels))
    present = np.unique(label_ids)
    if len(present) == 1:
        found[:, present[0]] = 1.0
        return found
    head = _regression().fit(embeddings, label_ids)
    found[:, head.classes_] = head.predict_proba(asked)
    return found


def _binary(embeddings: FloatArray, has: BoolArray, asked: FloatArray) -> FloatArray:
    if has.all() or not has.any():
        return np.full(len(asked), float(has.all()))
    head = _regression().fit(embeddings, has)
    found: FloatArray = head.predict_proba(asked)[:, 1]
    return found


def _regression() -> LogisticRegression:
    return LogisticRegression(C=_STRENGTH, max_iter=_ITERATIONS, tol=_TOLERANCE)
