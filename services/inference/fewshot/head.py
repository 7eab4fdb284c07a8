"""A linear head from few vectors, in closed form. Pure numbers; knows neither texts nor models.

Ridge regression on the labels as 0 and 1. Its penalty, and the temperature that turns scores into
confidences, are those with the least log loss when each example is predicted from all others; the
leave-one-out residuals are exact and cost no second fit (Allen, 1974).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Of vectors of length 1: from a head that nearly repeats its examples to one that says little
more than how often each label stands among them."""

_SHARPNESS = tuple(2.0 ** (step / 2) for step in range(11))
"""By which scores, about 0 to 1, are multiplied to become logits."""

_SURE = 1.0 - 1e-9
"""An example cannot weigh more than this in its own prediction, or nothing is left of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """From vectors to logits."""

    weights: NDArray[np.float32]
    """Of shape (dimension, labels)."""

    bias: NDArray[np.float32]
    """Of shape (labels,)."""

    def logits(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return calibrated logits of shape (texts, labels)."""
        logits: NDArray[np.float32] = vectors @ self.weights + self.bias
        return logits


def learn(vectors: NDArray[np.float32], label_ids: Sequence[int], *, labels: int) -> Head:
    """Return the head that examples make.

    Args:
        vectors: Of shape (examples, dimension), each of length 1.
        label_ids: Of each example, from 0; every label at least twice, two labels at least.
        labels: Number of labels.
    """
    fit = _Fit(vectors.astype(np.float64), np.eye(labels)[np.asarray(label_ids)])
    _, penalty, sharpness = min(
        (_log_loss(scores, label_ids, sharpness), penalty, sharpness)
        for penalty in _PENALTIES
        for scores in [fit.left_out(penalty)]
        for sharpness in _SHARPNESS
    )
    return fit.head(penalty, sharpness)


class _Fit:
    """Ridge regressions of every penalty, from one decomposition."""

    def __init__(self, vectors: Doubles, targets: Doubles) -> None:
        self._targets = targets
        self._middle, self._shares = vectors.mean(axis=0), targets.mean(axis=0)
        self._left, self._singular, self._right = np.linalg.svd(
            vectors - self._middle, full_matrices=False
        )
        self._seen = self._left.T @ (targets - self._shares)

    def left_out(self, penalty: float) -> Doubles:
        """Return the scores of each example by a regression that did not see it."""
        kept = self._singular**2 / (self._singular**2 + penalty)
        fitted = self._left @ (kept[:, None] * self._seen) + self._shares
        own = np.minimum(self._left**2 @ kept + 1.0 / len(self._targets), _SURE)
        scores: Doubles = self._targets - (self._targets - fitted) / (1.0 - own)[:, None]
        return scores

    def head(self, penalty: float, sharpness: float) -> Head:
        kept = self._singular / (self._singular**2 + penalty)
        weights = self._right.T @ (kept[:, None] * self._seen)
        return Head(
            weights=(sharpness * weights).astype(np.float32),
            bias=(sharpness * (self._shares - self._middle @ weights)).astype(np.float32),
        )


def _log_loss(scores: Doubles, label_ids: Sequence[int], sharpness: float) -> float:
    logits = sharpness * scores
    logits -= logits.max(axis=1, keepdims=True)
    right = logits[np.arange(len(logits)), label_ids]
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - right))
