"""Linear heads on embeddings, and the logistic regression that training has to beat.

Knows embeddings, not the encoder that made them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer[Any]]

INVERSE_REGULARISATION = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""The values of C that cross-validation chooses from: half a decade apart."""

_FOLDS = 5
_ITERATIONS = 2000

_TUNING_ROWS = 4000
# C is chosen on at most 4,000 rows: 45 fits then stay within half a minute on a core.

_NEVER = 1e4
# A bias of -10,000 cannot be made up for by any embedding of length 1.

PROTOTYPE_SCALE = 16.0
# Cosines of sentence encoders differ by some 0.1 to 0.5 between the right label and the others:
# times 16 that is a difference of 2 to 8 in the logits, neither flat nor saturated.


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A linear classifier on embeddings."""

    weight: Floats
    """[K, D]"""

    bias: Floats
    """[K]"""

    def logits(self, embeddings: Floats) -> Floats:
        """Return [N, K] for embeddings [N, D]."""
        return embeddings @ self.weight.T + self.bias

    def probabilities(self, embeddings: Floats, temperature: float = 1.0) -> Floats:
        """Return [N, K] for embeddings [N, D]; rows sum to 1."""
        logits = self.logits(embeddings) / temperature
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: Floats = powers / powers.sum(axis=1, keepdims=True)
        return result


def prototypes(embeddings: Floats, label_ids: Ints, labels: int) -> Head:
    """Return the head that compares with each label's mean embedding.

    Args:
        embeddings: [N, D], each row of length 1.
        label_ids: [N]
        labels: K; a label without rows never wins over one with rows.
    """
    sums = np.zeros((labels, embeddings.shape[1]), dtype=np.float32)
    np.add.at(sums, label_ids, embeddings)
    lengths = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return Head(weight=PROTOTYPE_SCALE * sums / lengths, bias=np.zeros(labels, dtype=np.float32))


def tuned_regression(embeddings: Floats, label_ids: Ints, labels: int, *, seed: int) -> Head:
    """Fit a logistic regression whose C is chosen by cross-validation on the same rows.

    Args:
        embeddings: [N, D]
        label_ids: [N], at least two different ones.
        labels: K; a label without rows gets a bias that keeps it from winning.
        seed: Of the folds.
    """
    # The problems are small: threads would spend their time waiting for each other.
    with threadpool_limits(limits=1):
        strength = _choose(*_sample(embeddings, label_ids, seed), seed)
        fitted = LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(embeddings, label_ids)
    weight = np.zeros((labels, embeddings.shape[1]), dtype=np.float32)
    bias = np.full(labels, -_NEVER, dtype=np.float32)
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(coefficients) == 1:
        # Two classes have one row of coefficients: half of it for each side.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weight[fitted.classes_] = coefficients
    bias[fitted.classes_] = intercepts
    return Head(weight=weight, bias=bias)


def _sample(embeddings: Floats, label_ids: Ints, seed: int) -> tuple[Floats, Ints]:
    if len(label_ids) <= _TUNING_ROWS:
        return embeddings, label_ids
    rows = np.random.default_rng(seed).permutation(len(label_ids))[:_TUNING_ROWS]
    return embeddings[rows], label_ids[rows]


def _choose(embeddings: Floats, label_ids: Ints, seed: int) -> float:
    """Return the C with the best accuracy over the folds, the smallest of equals."""
    # A label with one row is either learnt or asked for, never both.
    counts = np.bincount(label_ids)
    several = counts[label_ids] > 1
    embeddings, label_ids = embeddings[several], label_ids[several]
    if len(np.unique(label_ids)) < 2:  # noqa: PLR2004 (nothing to tell apart)
        return 1.0
    right = np.zeros(len(INVERSE_REGULARISATION))
    split = StratifiedKFold(min(_FOLDS, int(counts.max())), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Some labels may have fewer rows than there are folds: they are in some of them.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        folds = list(split.split(embeddings, label_ids))
    for fit, test in folds:
        model = LogisticRegression(warm_start=True, max_iter=_ITERATIONS)
        for index, strength in enumerate(INVERSE_REGULARISATION):
            # From weak to strong, each from the solution before: a tenth of the time.
            model.set_params(C=strength).fit(embeddings[fit], label_ids[fit])
            right[index] += (model.predict(embeddings[test]) == label_ids[test]).sum()
    return INVERSE_REGULARISATION[int(right.argmax())]
