"""The plainest baseline: what the nearest training texts say, in the untrained embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.trainer.evaluation.arrays import BoolArray, FloatArray
from services.trainer.evaluation.geometry import draw, nearest, top

COUNTS = (1, 3, 5, 9, 15, 25)
"""The numbers of neighbours that are tried on the training rows."""

_SHARPNESS = 20.0
# Neighbours vote by exp(20 cos): one that is 0.1 further away has a seventh of the weight.

_TUNING_ROWS = 4_000
_BLOCK = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """What the nearest training rows say of other rows."""

    count: int
    """How many neighbours vote: what was best for the training rows themselves."""

    probabilities: FloatArray
    """[M, K]"""


def vote(
    embeddings: FloatArray, truth: BoolArray, asked: FloatArray, *, single: bool, seed: int
) -> Neighbours:
    """Let the nearest training rows vote.

    Args:
        embeddings: [N, D] of training rows, rows of length 1, at least two.
        truth: [N, K], whether a training row has the label.
        asked: [M, D], rows of length 1.
        single: Whether each row has one label.
        seed: Of the draw of rows that the number of neighbours is chosen on.
    """
    rows = draw(len(embeddings), _TUNING_ROWS, seed)
    most = min(COUNTS[-1], len(rows) - 1)
    near = nearest(embeddings[rows], most)
    held = truth[rows]
    cosines = np.einsum("nd,nkd->nk", embeddings[rows], embeddings[rows][near])
    tried = [count for count in COUNTS if count <= most] or [most]
    right = [_agreement(_votes(cosines, held[near], count), held, single=single) for count in tried]
    count = tried[int(np.argmax(right))]
    found = np.zeros((len(asked), truth.shape[1]))
    for start in range(0, len(asked), _BLOCK):
        part = slice(start, start + _BLOCK)
        similar = asked[part] @ embeddings.T
        chosen = top(similar, count)
        found[part] = _votes(np.take_along_axis(similar, chosen, axis=1), truth[chosen], count)
    return Neighbours(count=count, probabilities=found)


def _votes(cosines: FloatArray, held: BoolArray, count: int) -> FloatArray:
    """Return [n, K] from cosines [n, most] and labels [n, most, K] of neighbours, nearest first."""
    weights = np.exp(_SHARPNESS * (cosines[:, :count] - cosines[:, :1]))
    votes = np.einsum("nm,nmk->nk", weights, held[:, :count].astype(np.float64))
    shares = votes / weights.sum(axis=1, keepdims=True)
    # Few neighbours that agree are no certainty: one more spreads its vote over all labels.
    result: FloatArray = (shares * count + 1 / held.shape[2]) / (count + 1)
    return result


def _agreement(votes: FloatArray, held: BoolArray, *, single: bool) -> float:
    """Return the share of rows whose labels the votes name."""
    if single:
        return float(held[np.arange(len(held)), votes.argmax(axis=1)].mean())
    return float(((votes > 1 / 2) == held).all(axis=1).mean())
