"""A map of the same texts before and after training.

Both maps are t-SNE (van der Maaten and Hinton, 2008): texts that are near in the embedding are near
on the map; how far apart groups lie means little. The map before starts from the two principal
components, the map after from the map before, and is then turned and mirrored to lie on it as well
as it can (Procrustes), so that a text stays in its place unless the training moved it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.manifold import TSNE, trustworthiness

from services.trainer.evaluation.arrays import FloatArray, IntArray
from services.trainer.evaluation.geometry import draw

MOST_POINTS = 2_000

_FEWEST = 16
# Below, there are no neighbourhoods to keep: the principal components are the map.

_PERPLEXITY = 30.0
_ITERATIONS = 350
# 2,000 texts take 2 s of a core; 500 iterations would keep 0.4 % more of the neighbours.

_START_SIZE = 1e-4
_TRUSTED_NEIGHBOURS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """N texts on two maps."""

    rows: IntArray
    """[N], which of the held-out rows they are, ascending."""

    before: FloatArray
    """[N, 2]; the texts' mean is the origin and their mean square distance from it 1."""

    after: FloatArray
    """[N, 2], likewise."""

    before_trust: float
    """How far neighbours on the map are neighbours in the embedding, 0 to 1 (trustworthiness;
    Venna and Kaski, 2001)."""

    after_trust: float


def project(before: FloatArray, after: FloatArray, *, seed: int) -> Projection:
    """Lay at most 2,000 texts out; the same arguments give the same map.

    Args:
        before: [N, D], the untrained embedding.
        after: [N, E], the trained one of the same texts.
        seed: Of the draw, where there are more texts, and of the maps.
    """
    rows = np.sort(draw(len(before), MOST_POINTS, seed))
    first = _map(before[rows], _plane(before[rows]), seed)
    second = _map(after[rows], first if len(rows) >= _FEWEST else _plane(after[rows]), seed)
    return Projection(
        rows=rows,
        before=first,
        after=second @ _rotation(second, first),
        before_trust=_trust(before[rows], first),
        after_trust=_trust(after[rows], second),
    )


def _map(embeddings: FloatArray, start: FloatArray, seed: int) -> FloatArray:
    if len(embeddings) < _FEWEST:
        return start
    points = TSNE(
        init=(_START_SIZE * start).astype(np.float32),
        perplexity=min(_PERPLEXITY, (len(embeddings) - 1) / 3),
        max_iter=_ITERATIONS,
        random_state=seed,
        # Two threads would add numbers up in an order of their own.
        n_jobs=1,
    ).fit_transform(embeddings)
    return _unit(points.astype(np.float64))


def _plane(embeddings: FloatArray) -> FloatArray:
    """Return the two principal components, in unit size."""
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    plane = axes[:, ::-1][:, :2]
    # An eigenvector's sign is the library's choice: the largest part of each points up here.
    plane = plane * np.sign(plane[np.abs(plane).argmax(axis=0), np.arange(plane.shape[1])])
    return _unit(centred @ plane)


def _unit(points: FloatArray) -> FloatArray:
    centred = points - points.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=1).mean())
    result: FloatArray = centred / max(float(size), 1e-12)
    return result


def _rotation(moved: FloatArray, onto: FloatArray) -> FloatArray:
    """Return the rotation or reflection that brings one set of points nearest to another."""
    left, _, right = np.linalg.svd(moved.T @ onto)
    rotation: FloatArray = left @ right
    return rotation


def _trust(embeddings: FloatArray, points: FloatArray) -> float:
    if len(embeddings) < _FEWEST:
        return 1.0
    return float(trustworthiness(embeddings, points, n_neighbors=_TRUSTED_NEIGHBOURS))
