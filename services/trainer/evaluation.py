"""How good predictions are: pure arithmetic on probabilities, embeddings and label ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

_LEAST_PROBABILITY = 1e-15
# The log loss of a wrong answer given with certainty is cut at -log(1e-15) = 34.5.

_NEIGHBOUR_BLOCK = 1024
# 1,024 rows against 50,000 are 205 MB of float32 similarities.


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScores:
    """One label against the rest. A figure without anything to divide by is 0."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    """Examples that have the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Averages:
    """Precision, recall and F1 averaged over labels."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionCell:
    """Examples of one label that were given one label."""

    actual: str
    predicted: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything that is told about predictions on labelled examples; shares are 0 to 1."""

    examples: int
    accuracy: float
    precision: float
    """Of `positive_label` where it is set, else the macro average; so are recall and F1."""

    recall: float
    f1: float
    log_loss: float
    """Mean negative natural logarithm of the probability of the right label."""

    positive_label: str | None
    macro: Averages
    """The mean over the labels that the examples or the predictions hold."""

    micro: Averages
    """Over all decisions; with one label per example, all three equal the accuracy."""

    weighted: Averages
    """The mean over labels, weighted by support."""

    labels: tuple[LabelScores, ...]
    """In the order of the model's labels, those without examples included."""

    confusion: tuple[ConfusionCell, ...]
    """Only cells with a count, in the order of the labels."""


def evaluate(
    *,
    probabilities: FloatArray,
    label_ids: IntArray,
    labels: Sequence[str],
    positive_label: str | None,
) -> Evaluation:
    """Score predictions: the predicted label is the most probable, the first of equals.

    Args:
        probabilities: [N, K], N at least 1; rows sum to 1.
        label_ids: [N], the right label's index in `labels`.
        labels: K names.
        positive_label: Only with two labels: whose precision, recall and F1 are the headline.

    Raises:
        ValueError: Where there is nothing to score, or `positive_label` is not one of two labels.
    """
    if len(label_ids) == 0:
        raise ValueError("There are no examples to score.")
    if positive_label is not None and (len(labels) != _BINARY or positive_label not in labels):
        raise ValueError(f"positive_label must be one of two labels; got {positive_label!r}.")
    predicted = probabilities.argmax(axis=1)
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)  # [actual, predicted]
    np.add.at(counts, (label_ids, predicted), 1)
    hits = counts.diagonal()
    given, support = counts.sum(axis=0), counts.sum(axis=1)
    precision, recall = _ratio(hits, given), _ratio(hits, support)
    f1 = _ratio(2 * hits, given + support)
    per_label = np.stack([precision, recall, f1])  # [3, K]
    seen = given + support > 0
    macro = per_label[:, seen].mean(axis=1)
    accuracy = float(hits.sum() / len(label_ids))
    chosen = macro if positive_label is None else per_label[:, list(labels).index(positive_label)]
    right = probabilities[np.arange(len(label_ids)), label_ids].astype(np.float64)
    return Evaluation(
        examples=len(label_ids),
        accuracy=accuracy,
        precision=float(chosen[0]),
        recall=float(chosen[1]),
        f1=float(chosen[2]),
        log_loss=float(-np.log(np.clip(right, _LEAST_PROBABILITY, 1.0)).mean()),
        positive_label=positive_label,
        macro=_averages(macro),
        micro=Averages(precision=accuracy, recall=accuracy, f1=accuracy),
        weighted=_averages(per_label @ (support / len(label_ids))),
        labels=tuple(
            LabelScores(
                label=label,
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                support=int(support[i]),
            )
            for i, label in enumerate(labels)
        ),
        confusion=tuple(
            ConfusionCell(
                actual=labels[actual], predicted=labels[guess], count=int(counts[actual, guess])
            )
            for actual, guess in np.argwhere(counts)
        ),
    )


_BINARY = 2


def neighbour_share(embeddings: FloatArray, label_ids: IntArray, *, neighbours: int = 5) -> float:
    """Return the share of nearest neighbours that have the same label.

    The neighbours of a text are those others with the highest cosine.

    Args:
        embeddings: [N, D], each row of length 1.
        label_ids: [N].
        neighbours: How many of each text count; at most N - 1 do.
    """
    total = len(embeddings)
    count = min(neighbours, total - 1)
    if count < 1:
        return 0.0
    same = 0
    for start in range(0, total, _NEIGHBOUR_BLOCK):
        rows = np.arange(start, min(start + _NEIGHBOUR_BLOCK, total))
        cosines = embeddings[rows] @ embeddings.T
        cosines[np.arange(len(rows)), rows] = -np.inf  # nobody is its own neighbour
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        same += int((label_ids[nearest] == label_ids[rows][:, None]).sum())
    return same / (total * count)


def _ratio(numerator: IntArray, denominator: IntArray) -> FloatArray:
    """Divide, with 0 where there is nothing to divide by."""
    return numerator / np.maximum(denominator, 1)


def _averages(values: FloatArray) -> Averages:
    return Averages(precision=float(values[0]), recall=float(values[1]), f1=float(values[2]))
