"""How an embedding lays texts out: like beside like, and how much of an older layout is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.trainer.evaluation.arrays import BoolArray, FloatArray, IntArray

_NEIGHBOURS = 5
_BLOCK = 1024
# 1,024 rows against 50,000 are 205 MB of float32 similarities.

_MOST_NEIGHBOUR_ROWS = 10_000
_MOST_SILHOUETTE_ROWS = 2_000
# Both compare every text with every other: 10,000 take about two seconds of a core.


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """An embedding of labelled texts."""

    neighbour_accuracy: float
    """Share of texts whose labels five nearest others vote for, 0 to 1."""

    neighbour_agreement: float
    """Share of texts whose nearest other has the same labels, 0 to 1."""

    silhouette: float | None
    """How much nearer texts are to their own label than to the next, -1 to 1; None where texts
    have several labels, or no two texts share one."""


def describe(embeddings: FloatArray, truth: BoolArray, *, single: bool, seed: int) -> Geometry:
    """Measure an embedding of held-out texts against their own labels.

    Args:
        embeddings: [N, D], rows of length 1.
        truth: [N, K], whether a row has the label.
        single: Whether each row has one label.
        seed: Of the draw of rows, where there are many.
    """
    rows = draw(len(embeddings), _MOST_NEIGHBOUR_ROWS, seed)
    placed, held = embeddings[rows], truth[rows]
    near = nearest(placed, _NEIGHBOURS)
    if near.shape[1] == 0:
        return Geometry(neighbour_accuracy=0.0, neighbour_agreement=0.0, silhouette=None)
    votes = held[near].mean(axis=1)  # [n, K]
    if single:
        # The nearest of all decides between equals.
        votes += held[near[:, 0]] / (2 * near.shape[1])
        given = np.zeros_like(held)
        given[np.arange(len(held)), votes.argmax(axis=1)] = True
    else:
        given = votes > 1 / 2
    few = draw(len(embeddings), _MOST_SILHOUETTE_ROWS, seed)
    return Geometry(
        neighbour_accuracy=float((given == held).all(axis=1).mean()),
        neighbour_agreement=float((held[near[:, 0]] == held).all(axis=1).mean()),
        silhouette=silhouette(embeddings[few], truth[few].argmax(axis=1)) if single else None,
    )


def neighbour_share(embeddings: FloatArray, label_ids: IntArray, *, neighbours: int = 5) -> float:
    """Return the share of nearest neighbours that have the same label.

    The neighbours of a text are those others with the highest cosine.

    Args:
        embeddings: [N, D], each row of length 1.
        label_ids: [N].
        neighbours: How many of each text count; at most N - 1 do.
    """
    near = nearest(embeddings, neighbours)
    if near.shape[1] == 0:
        return 0.0
    return float((label_ids[near] == label_ids[:, None]).mean())


def nearest(embeddings: FloatArray, neighbours: int) -> IntArray:
    """Return the nearest others of each row, nearest first.

    Args:
        embeddings: [N, D], each row of length 1.
        neighbours: How many; at most N - 1 are there.

    Returns:
        [N, neighbours]
    """
    total = len(embeddings)
    count = min(neighbours, total - 1)
    found = np.empty((total, max(0, count)), dtype=np.int64)
    if count < 1:
        return found
    for start in range(0, total, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, total))
        cosines = embeddings[rows] @ embeddings.T
        cosines[np.arange(len(rows)), rows] = -np.inf  # nobody is its own neighbour
        found[rows] = top(cosines, count)
    return found


def top(values: FloatArray, count: int) -> IntArray:
    """Return the columns of the `count` largest values of each row, largest first."""
    chosen = np.argpartition(-values, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(values, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def silhouette(embeddings: FloatArray, label_ids: IntArray) -> float | None:
    """Return the mean silhouette by cosine distance (Rousseeuw, 1987).

    A text that has its label alone counts 0, as is usual.

    Args:
        embeddings: [N, D], rows of length 1.
        label_ids: [N]

    Returns:
        -1 to 1; None where there are not two labels, or no two texts of one.
    """
    names, inverse, counts = np.unique(label_ids, return_inverse=True, return_counts=True)
    if not 1 < len(names) < len(label_ids):
        return None
    membership = np.eye(len(names), dtype=np.float64)[inverse]  # [N, L]
    # The mean cosine distance to the texts of a label is one less their mean's cosine.
    sums = membership.T @ embeddings  # [L, D]
    cosines = embeddings.astype(np.float64) @ sums.T  # [N, L]
    rows = np.arange(len(inverse))
    own = counts[inverse]
    within = 1 - (cosines[rows, inverse] - 1) / np.maximum(own - 1, 1)
    between = 1 - cosines / counts
    between[rows, inverse] = np.inf
    next_best = between.min(axis=1)
    scale = np.maximum(np.maximum(within, next_best), np.finfo(np.float64).tiny)
    return float(np.where(own > 1, (next_best - within) / scale, 0.0).mean())


def retention(before: FloatArray, after: FloatArray) -> float:
    """Return how far two embeddings of the same texts agree on which pairs are alike.

    Args:
        before: [N, D], rows of length 1, N at least 3.
        after: [N, E], rows of length 1.

    Returns:
        Spearman's rank correlation of the cosines of all pairs, -1 to 1; 1: nothing was lost.
    """
    pairs = np.triu_indices(len(before), k=1)
    first, second = (_ranks((side @ side.T)[pairs]) for side in (before, after))
    correlation: FloatArray = np.corrcoef(first, second)
    return float(correlation[0, 1])


def draw(total: int, most: int, seed: int) -> IntArray:
    """Return all rows in order, or a seeded draw of `most` of them in random order."""
    if total <= most:
        return np.arange(total)
    return np.random.default_rng(seed).permutation(total)[:most]


def _ranks(values: FloatArray) -> FloatArray:
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks
