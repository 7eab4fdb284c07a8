"""Accuracy, precision, recall, F1 and log loss of predictions, with one label a row or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.trainer.evaluation.arrays import BoolArray, FloatArray, IntArray
from services.trainer.evaluation.decisions import Decisions, ratio

_LEAST_PROBABILITY = 1e-15
# The log loss of a wrong answer given with certainty is cut at -log(1e-15) = 34.5.

_BINARY = 2


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
    """Precision, recall and F1 averaged over labels, or over examples."""

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
    """Share of the examples that were given exactly the labels that they have."""

    precision: float
    """Of `positive_label` where it is set, else the macro average; so are recall and F1."""

    recall: float
    f1: float
    log_loss: float
    """Mean negative natural logarithm of the probability of the right label; with several labels
    a text, of the right decision about each label."""

    positive_label: str | None
    macro: Averages
    """The mean over the labels that the examples or the predictions hold."""

    micro: Averages
    """Over all decisions; with one label per example, all three equal the accuracy."""

    weighted: Averages
    """The mean over labels, weighted by support."""

    samples: Averages | None
    """The mean over examples; only with several labels a text."""

    labels: tuple[LabelScores, ...]
    """In the order of the model's labels, those without examples included."""

    confusion: tuple[ConfusionCell, ...]
    """Only cells with a count, in the order of the labels; empty with several labels a text."""


def evaluate(
    *,
    probabilities: FloatArray,
    label_ids: IntArray,
    labels: Sequence[str],
    positive_label: str | None,
) -> Evaluation:
    """Score predictions of one label: the most probable is predicted, the first of equals.

    Args:
        probabilities: [N, K], N at least 1; rows sum to 1.
        label_ids: [N], the right label's index in `labels`.
        labels: K names.
        positive_label: Only with two labels: whose precision, recall and F1 are the headline.

    Raises:
        ValueError: Where there is nothing to score, or `positive_label` is not one of two labels.
    """
    if positive_label is not None and (len(labels) != _BINARY or positive_label not in labels):
        raise ValueError(f"positive_label must be one of two labels; got {positive_label!r}.")
    predicted = probabilities.argmax(axis=1)
    right = probabilities[np.arange(len(label_ids)), label_ids].astype(np.float64)
    return _scored(
        Decisions.single(label_ids, predicted, len(labels)),
        labels=labels,
        positive_label=positive_label,
        right=right,
        confusion=_confusion(label_ids, predicted, labels),
        samples=False,
    )


def evaluate_sets(
    *,
    probabilities: FloatArray,
    truth: BoolArray,
    thresholds: FloatArray,
    labels: Sequence[str],
) -> Evaluation:
    """Score predictions of any number of labels: those whose probability reaches their threshold.

    Args:
        probabilities: [N, K], N at least 1; each of its own, 0 to 1.
        truth: [N, K], whether a row has the label.
        thresholds: [K], 0 to 1.
        labels: K names.

    Raises:
        ValueError: Where there is nothing to score.
    """
    return _scored(
        Decisions.multiple(truth, probabilities >= thresholds),
        labels=labels,
        positive_label=None,
        right=np.where(truth, probabilities, 1.0 - probabilities).astype(np.float64),
        confusion=(),
        samples=True,
    )


def _scored(
    decisions: Decisions,
    *,
    labels: Sequence[str],
    positive_label: str | None,
    right: FloatArray,
    confusion: tuple[ConfusionCell, ...],
    samples: bool,
) -> Evaluation:
    if len(decisions) == 0:
        raise ValueError("There are no examples to score.")
    hits, given, support = (
        part.sum(axis=0) for part in (decisions.hits, decisions.given, decisions.truth)
    )
    precision, recall = ratio(hits, given), ratio(hits, support)
    f1 = ratio(2 * hits, given + support)
    per_label = np.stack([precision, recall, f1])  # [3, K]
    seen = given + support > 0
    macro = per_label[:, seen].mean(axis=1) if seen.any() else np.zeros(3)
    chosen = macro if positive_label is None else per_label[:, list(labels).index(positive_label)]
    return Evaluation(
        examples=len(decisions),
        accuracy=float(decisions.right.mean()),
        precision=float(chosen[0]),
        recall=float(chosen[1]),
        f1=float(chosen[2]),
        log_loss=float(-np.log(np.clip(right, _LEAST_PROBABILITY, 1.0)).mean()),
        positive_label=positive_label,
        macro=_averages(macro),
        micro=_averages(_figures(hits.sum(), given.sum(), support.sum())),
        weighted=_averages(per_label @ ratio(support, support.sum())),
        samples=_samples(decisions) if samples else None,
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
        confusion=confusion,
    )


def _samples(decisions: Decisions) -> Averages:
    """Average over rows. A row without labels that was given none is wholly right."""
    hits, given, support = (
        part.sum(axis=1) for part in (decisions.hits, decisions.given, decisions.truth)
    )
    figures = _figures(hits, given, support)
    figures[:, given + support == 0] = 1.0
    return _averages(figures.mean(axis=1))


def _figures(hits: IntArray, given: IntArray, support: IntArray) -> FloatArray:
    return np.stack([ratio(hits, given), ratio(hits, support), ratio(2 * hits, given + support)])


def _confusion(
    label_ids: IntArray, predicted: IntArray, labels: Sequence[str]
) -> tuple[ConfusionCell, ...]:
    cells, counts = np.unique(label_ids * len(labels) + predicted, return_counts=True)
    return tuple(
        ConfusionCell(
            actual=labels[cell // len(labels)],
            predicted=labels[cell % len(labels)],
            count=int(count),
        )
        for cell, count in zip(cells, counts, strict=True)
    )


def _averages(values: FloatArray) -> Averages:
    return Averages(precision=float(values[0]), recall=float(values[1]), f1=float(values[2]))
