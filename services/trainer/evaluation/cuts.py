"""What is left of a model whose embeddings are cut to fewer numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from services.trainer.evaluation.arrays import BoolArray, FloatArray
from services.trainer.evaluation.geometry import describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A model at one length; shares are 0 to 1."""

    dimensions: int
    accuracy: float
    """Share of texts whose labels its head names from the cut embedding, all of them rightly."""

    neighbour_accuracy: float
    """Share of texts whose labels five nearest others vote for."""


def measure(
    embeddings: FloatArray,
    held: BoolArray,
    classify: Callable[[FloatArray], FloatArray],
    *,
    lengths: Sequence[int],
    thresholds: FloatArray,
    seed: int,
) -> tuple[Cut, ...]:
    """Measure a model at each length.

    Args:
        embeddings: [N, D], rows of length 1.
        held: [N, K], whether a row has the label.
        classify: Returns probabilities [N, K] for embeddings of any of the lengths.
        lengths: Each at most D.
        thresholds: [K] where a text can have several labels, else empty.
        seed: Of draws of rows.
    """
    single = not len(thresholds)
    found = []
    for length in lengths:
        cut = shortened(embeddings, length)
        said = classify(cut)
        if single:
            right = held[np.arange(len(held)), said.argmax(axis=1)]
        else:
            right = ((said >= thresholds) == held).all(axis=1)
        placed = describe(cut, held, single=single, seed=seed)
        found.append(
            Cut(
                dimensions=length,
                accuracy=float(right.mean()),
                neighbour_accuracy=placed.neighbour_accuracy,
            )
        )
    return tuple(found)


def shortened(embeddings: FloatArray, length: int) -> FloatArray:
    """Return the first numbers of each row, again of length 1."""
    cut = embeddings[:, :length]
    result: FloatArray = cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)
    return result
