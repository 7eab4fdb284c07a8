"""The plainest baseline: what the nearest training texts say, in the untrained embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.trainer.evaluation.arrays import BoolArray, FloatArray, IntArray
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
    placed, held = embeddings[rows], truth[rows]
    most = min(COUNTS[-1], len(rows) - 1)
    near = nearest(placed, most)
    cosines = np.stack(
        [np.einsum("nd,nd->n", placed, placed[near[:, place]]) for place in range(most)], axis=1
    )
    tried = [count for count in COUNTS if count <= most] or [most]
    right = [_agreement(_votes(cosines, near, held, count), held, single=single) for count in tried]
    count = tried[int(np.argmax(right))]
    found = []
    for start in range(0, len(asked), _BLOCK):
        similar = asked[start : start + _BLOCK] @ embeddings.T
        chosen = top(similar, count)
        found.append(_votes(np.take_along_axis(similar, chosen, axis=1), chosen, truth, count))
    return Neighbours(count=count, probabilities=np.concatenate(found))


def _votes(cosines: FloatArray, near: IntArray, truth: BoolArray, count: int) -> FloatArray:
    """Return [n, K] from cosines and places [n, most] of neighbours, nearest first.

    Args:
        cosines: Of each row with its neighbours.
        near: Which rows of `truth` these are.
        truth: [N, K]
        count: How many vote.
    """
    weights = np.exp(_SHARPNESS * (cosines[:, :count] - cosines[:, :1]))
    weights /= weights.sum(axis=1, keepdims=True)
    votes = np.zeros((len(near), truth.shape[1]), dtype=np.float32)
    for place in range(count):
        votes += weights[:, place, None] * truth[near[:, place]]
    # Few neighbours that agree are no certainty: one more spreads its vote over all labels.
    result: FloatArray = (votes * count + 1 / truth.shape[1]) / (count + 1)
    return result


def _agreement(votes: FloatArray, held: BoolArray, *, single: bool) -> float:
    """Return the share of rows whose labels the votes name."""
    if single:
        return float(held[np.arange(len(held)), votes.argmax(axis=1)].mean())
    return float(((votes > 1 / 2) == held).all(axis=1).mean())
