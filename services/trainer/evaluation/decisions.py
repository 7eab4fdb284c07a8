"""Which labels rows have and which they were given, whether one label a row or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from services.trainer.evaluation.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """N rows, K labels; sparse, as a row has few labels of perhaps a thousand."""

    truth: sparse.csr_array
    """[N, K], 1 where a row has the label."""

    given: sparse.csr_array
    """[N, K], 1 where it was given the label."""

    @classmethod
    def single(cls, label_ids: IntArray, given: IntArray, labels: int) -> Decisions:
        """Take one label a row, [N] ids each."""
        return cls(truth=_one_hot(label_ids, labels), given=_one_hot(given, labels))

    @classmethod
    def multiple(cls, truth: BoolArray, given: BoolArray) -> Decisions:
        """Take several labels a row, [N, K] each."""
        return cls(
            truth=sparse.csr_array(truth.astype(np.int32)),
            given=sparse.csr_array(given.astype(np.int32)),
        )

    @classmethod
    def named(
        cls,
        truth: Sequence[Sequence[str]],
        given: Sequence[Sequence[str]],
        labels: Mapping[str, int],
    ) -> Decisions:
        """Take any number of labels a row by name, N rows each, and the id of each name."""
        return cls(truth=_from_names(truth, labels), given=_from_names(given, labels))

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.truth.shape[0])

    @property
    def labels(self) -> int:
        """The number of labels."""
        return int(self.truth.shape[1])

    @property
    def hits(self) -> sparse.csr_array:
        """[N, K], 1 where a row has the label and was given it."""
        return self.truth.multiply(self.given).tocsr()

    @property
    def right(self) -> BoolArray:
        """[N]: whether a row was given exactly the labels that it has."""
        found = self.hits.sum(axis=1)
        right: BoolArray = (found == self.truth.sum(axis=1)) & (found == self.given.sum(axis=1))
        return right

    def take(self, rows: IntArray) -> Decisions:
        """Return these rows."""
        return Decisions(truth=self.truth[rows], given=self.given[rows])


def ratio(numerator: FloatArray | IntArray, denominator: FloatArray | IntArray) -> FloatArray:
    """Divide, with 0 where there is nothing to divide by."""
    result: FloatArray = numerator / np.where(denominator == 0, 1, denominator)
    return result


def _one_hot(label_ids: IntArray, labels: int) -> sparse.csr_array:
    rows = len(label_ids)
    ones = np.ones(rows, dtype=np.int32)
    return sparse.csr_array((ones, (np.arange(rows), label_ids)), shape=(rows, labels))


def _from_names(rows: Sequence[Sequence[str]], labels: Mapping[str, int]) -> sparse.csr_array:
    ids = [labels[label] for row in rows for label in row]
    ends = np.cumsum([0, *map(len, rows)])
    ones = np.ones(len(ids), dtype=np.int32)
    return sparse.csr_array((ones, ids, ends), shape=(len(rows), len(labels)))
