"""Rows as vectors of length 1, and which of them are nearest to a text. Pure numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from services.common.neighbours import NeighbourRows
from services.inference.engine import FloatArray, IntArray

_STEPS = 1_000_000
"""Cosines are whole numbers of millionths, about what float32 tells apart: rows that are the same
text are equally near, whatever their products were rounded to."""

_TEXTS_AT_ONCE = 64
"""Against 5,000 rows 6 MB of numbers: they stay in a processor's cache, and no call takes more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """What labels were learnt from."""

    vectors: FloatArray
    """Of shape (rows, dimension), of length 1."""

    places: Sequence[int]
    """Of each row, where it stood among those that were learnt from, ascending."""

    labels: Sequence[tuple[str, ...]]
    """Of each row."""

    @classmethod
    def of(cls, found: NeighbourRows, labels: Sequence[str]) -> Self:
        """Return what a file has; `labels` are the model's."""
        vectors = found.vectors.astype(np.float32)
        # Half floats are a thousandth off, and what they leave of it would show in every cosine.
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        names = [labels[label] for label in found.label_ids.tolist()]
        ends = found.label_ends.tolist()
        return cls(
            vectors=vectors,
            places=found.rows.tolist(),
            labels=[tuple(names[start:end]) for start, end in zip([0, *ends], ends, strict=False)],
        )

    def nearest(self, embeddings: FloatArray, count: int) -> tuple[IntArray, FloatArray]:
        """Return the nearest rows of each text, nearest first, and of equally near ones the first.

        Args:
            embeddings: Of shape (texts, dimension), of length 1.
            count: How many rows, from 1 to all.

        Returns:
            Indices of rows and their cosines, both of shape (texts, count).
        """
        shape = len(embeddings), count
        rows, cosines = np.empty(shape, np.int64), np.empty(shape, np.float32)
        for start in range(0, len(embeddings), _TEXTS_AT_ONCE):
            part = slice(start, start + _TEXTS_AT_ONCE)
            rows[part], cosines[part] = self._nearest(embeddings[part], count)
        return rows, cosines

    def _nearest(self, embeddings: FloatArray, count: int) -> tuple[IntArray, FloatArray]:
        products = np.clip(embeddings @ self.vectors.T, -1.0, 1.0)
        steps = np.rint(products * _STEPS).astype(np.int64)
        # No two are the same: the order does not depend on how it was found.
        keys = np.arange(len(self.vectors)) - steps * len(self.vectors)
        found = np.argpartition(keys, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(keys, found, axis=1), axis=1)
        rows = np.take_along_axis(found, order, axis=1)
        return rows, (np.take_along_axis(steps, rows, axis=1) / _STEPS).astype(np.float32)
