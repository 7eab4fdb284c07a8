"""Linear heads on embeddings. Knows embeddings, not the encoder that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from services.trainer.learning.targets import Targets, indicators, is_multi

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer[Any]]
Real = TypeVar("Real", bound=np.floating[Any])

NEVER = 1e4
"""A bias of -10,000 cannot be made up for by any embedding of length 1."""

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

    multi_label: bool = False
    """Whether each label is judged by itself."""

    def logits(self, embeddings: Floats) -> Floats:
        """Return [N, K] for embeddings [N, D], or for their first numbers alone."""
        return embeddings @ self.weight[:, : embeddings.shape[1]].T + self.bias

    def probabilities(self, embeddings: Floats, temperature: float = 1.0) -> Floats:
        """Return [N, K] for embeddings [N, D]; rows sum to 1 unless each label is by itself."""
        return probabilities(self.logits(embeddings) / temperature, multi_label=self.multi_label)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerHead:
    """The head of a model that is trained further, perhaps with other labels."""

    labels: tuple[str, ...]
    head: Head

    def onto(self, start: Head, labels: Sequence[str]) -> Head:
        """Return `start` with the rows of the labels that are known.

        Where labels compete, a new one becomes as loud as the known ones: its logit for its own
        mean embedding is theirs, on average, or one side would drown the other. Where one head
        judges each label by itself and the other does not, nothing can be carried over.

        Args:
            start: Prototypes of all labels.
            labels: In the order of `start`.
        """
        index = {label: row for row, label in enumerate(self.labels)}
        known = [row for row, label in enumerate(labels) if label in index]
        if not known or self.head.multi_label != start.multi_label:
            return start
        former = [index[labels[row]] for row in known]
        rows, offsets = self.head.weight[former], self.head.bias[former]
        weight, bias = start.weight.copy(), start.bias.copy()
        if not start.multi_label:
            own = np.linalg.norm(start.weight, axis=1)  # [K]: of a mean with itself
            means = start.weight / np.maximum(own[:, None], 1e-12)
            bias += ((rows * means[known]).sum(axis=1) + offsets).mean() - own
        weight[known], bias[known] = rows, offsets
        return Head(weight=weight, bias=bias, multi_label=start.multi_label)


def probabilities(logits: npt.NDArray[Real], *, multi_label: bool) -> npt.NDArray[Real]:
    """Return [N, K]: the softmax of logits [N, K], or their sigmoid, as precise as they are."""
    if multi_label:
        # Of a large negative number, exp would overflow.
        halves: npt.NDArray[Real] = 0.5 * (1.0 + np.tanh(0.5 * logits))
        return halves
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: npt.NDArray[Real] = powers / powers.sum(axis=1, keepdims=True)
    return result


def prototypes(embeddings: Floats, targets: Targets, labels: int) -> Head:
    """Return the head that compares with each label's mean embedding.

    Args:
        embeddings: [N, D], each row of length 1.
        targets: Of the same rows.
        labels: K; a label without rows never wins over one with rows.
    """
    if is_multi(targets):
        return _prototypes_apart(embeddings, targets, labels)
    sums = np.zeros((labels, embeddings.shape[1]), dtype=np.float32)
    np.add.at(sums, targets, embeddings)
    return Head(weight=PROTOTYPE_SCALE * _directions(sums), bias=np.zeros(labels, dtype=np.float32))


def _prototypes_apart(embeddings: Floats, targets: Targets, labels: int) -> Head:
    """Return, for each label, the plane halfway between the rows that have it and those that don't.

    The bias is moved by the log odds of the label, so that a rare one is rarely given.
    """
    having = indicators(targets, labels).astype(np.float32)
    count = having.sum(axis=0)[:, None]  # [K, 1]
    mean = having.T @ embeddings / np.maximum(count, 1)
    others = (embeddings.sum(axis=0) - having.T @ embeddings) / np.maximum(len(targets) - count, 1)
    weight = PROTOTYPE_SCALE * _directions(mean - others)
    middle = (weight * (mean + others) / 2).sum(axis=1)
    odds = (count[:, 0] + 0.5) / (len(targets) - count[:, 0] + 0.5)
    bias = (np.log(odds) - middle).astype(np.float32)
    bias[count[:, 0] == 0] = -NEVER
    return Head(weight=weight, bias=bias, multi_label=True)


def _directions(vectors: Floats) -> Floats:
    """Return [K, D] with rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: Floats = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result
