"""What a quarter, a half and all of the training rows teach: whether more of them would help."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.trainer.evaluation.arrays import BoolArray, FloatArray, IntArray
from services.trainer.evaluation.decisions import Decisions, ratio
from services.trainer.evaluation.heads import fitted_probabilities

_SHARES = (0.25, 0.5, 0.75, 1.0)
_DRAWS = (3, 3, 1, 1)
# What doublings are told from is drawn three times: a single draw of ten rows a label moves by a
# point. Three quarters only show the shape.

_HALF, _WHOLE = 1, 3
_DOUBLINGS = 2
# From a quarter to all.

_LIKELY = 0.5
# With several labels a text, a head gives those that are more probable than not.


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """What heads on frozen embeddings learnt from so many rows; means over draws."""

    rows: int
    accuracy: float
    f1: float
    """The mean over labels that the scored rows hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """Held-out figures by the number of training rows."""

    points: tuple[CurvePoint, ...]
    """From a quarter of the rows to all."""

    doubling: float
    """What the last doubling added to the accuracy."""

    doubling_noise: float
    """How far two draws of half the rows differ, as a standard deviation."""

    label_doubling: tuple[float, ...]
    """By label: what a doubling adds to its F1, the mean of the last two."""


def measure(
    embeddings: FloatArray,
    truth: BoolArray,
    asked: FloatArray,
    asked_truth: BoolArray,
    *,
    single: bool,
    seed: int,
) -> LearningCurve:
    """Fit heads on parts of the training rows and score them on held-out rows.

    Args:
        embeddings: [N, D] of training rows.
        truth: [N, K]
        asked: [M, D] of held-out rows, which choose nothing.
        asked_truth: [M, K]
        single: Whether each row has one label.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    sizes, figures = [], []  # of each share: rows, and [draws, 1 + K]
    for share, draws in zip(_SHARES, _DRAWS, strict=True):
        drawn = []
        for _ in range(draws):
            rows = _part(truth, share, random)
            found = fitted_probabilities(embeddings[rows], truth[rows], asked, single=single)
            drawn.append(_figures(found, asked_truth, single=single))
        sizes.append(len(rows))
        figures.append(np.stack(drawn))
    means = np.stack([drawn.mean(axis=0) for drawn in figures])  # [shares, 1 + K]
    seen = asked_truth.any(axis=0)
    return LearningCurve(
        points=tuple(
            CurvePoint(
                rows=size,
                accuracy=float(mean[0]),
                f1=float(mean[1:][seen].mean()) if seen.any() else 0.0,
            )
            for size, mean in zip(sizes, means, strict=True)
        ),
        doubling=float(means[_WHOLE, 0] - means[_HALF, 0]),
        doubling_noise=float(figures[_HALF][:, 0].std(ddof=1)),
        label_doubling=tuple((means[_WHOLE, 1:] - means[0, 1:]) / _DOUBLINGS),
    )


def _part(truth: BoolArray, share: float, random: np.random.Generator) -> IntArray:
    """Return so much of the rows, of each label alike and at least one, by a row's first label."""
    order = random.permutation(len(truth))
    first = truth[order].argmax(axis=1)
    place = np.empty(len(truth))  # of a row among those of its label, 0 to 1
    for label in np.unique(first):
        rows = order[first == label]
        # The offset says which labels get the row more where a share of them is no whole number.
        place[rows] = (np.arange(len(rows)) + random.random()) / len(rows)
        place[rows[0]] = 0.0
    size = max(round(share * len(truth)), len(np.unique(first)))
    return np.sort(np.argsort(place, kind="stable")[:size])


def _figures(found: FloatArray, truth: BoolArray, *, single: bool) -> FloatArray:
    """Return accuracy, then the F1 of each label."""
    decisions = (
        Decisions.single(truth.argmax(axis=1), found.argmax(axis=1), truth.shape[1])
        if single
        else Decisions.multiple(truth, found >= _LIKELY)
    )
    hits, given, support = (
        part.sum(axis=0) for part in (decisions.hits, decisions.given, decisions.truth)
    )
    return np.concatenate([[decisions.right.mean()], ratio(2 * hits, given + support)])
