"""Whether confidences mean what they say, and what is gained by leaving unsure rows alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.trainer.evaluation.arrays import BoolArray, FloatArray

_BINS = 15
# As in Guo et al. (2017). Of equal mass: equal widths leave most bins of a sure model empty.

_MOST_DECISIONS = 200_000
_SIMULATIONS = 200
# 200 models of 200,000 decisions: 40 million numbers, half a second.

_NOISE_QUANTILE = 0.95
THRESHOLDS = (0.0, *(step / 20 for step in range(2, 20)), 0.975, 0.99)
"""Confidences below which a row could be left to a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Decisions of like confidence."""

    count: int
    confidence: float
    """Their mean confidence, 0 to 1."""

    accuracy: float
    """Share of them that were right, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far confidences are from the share of right answers."""

    error: float
    """Expected calibration error: the mean distance over bins, weighted by their decisions."""

    noise_floor: float
    """The error that a perfectly calibrated model with these confidences shows, on average."""

    noise_limit: float
    """The error that such a model stays under 19 times of 20: up to here nothing is proven."""

    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What is left where rows of less confidence than a threshold are left alone."""

    threshold: float
    coverage: float
    """Share of rows that are still answered, 0 to 1."""

    accuracy: float
    """Share of those that are right, 0 to 1; 0 where none is answered."""


def calibration(confidences: FloatArray, right: BoolArray, *, seed: int) -> Calibration:
    """Compare confidences with what came true.

    Args:
        confidences: [M], 0 to 1; of more than 200,000 a draw is looked at.
        right: [M], whether what was said with that confidence was so.
        seed: Of the draw and of the simulated models.
    """
    if len(confidences) > _MOST_DECISIONS:
        # The first of them would be of a few labels, where rows are sorted by label.
        every = len(confidences)
        drawn = np.random.default_rng(seed).choice(every, _MOST_DECISIONS, replace=False)
        confidences, right = confidences[drawn], right[drawn]
    order = np.argsort(confidences, kind="stable")
    sure, came_true = confidences[order].astype(np.float64), right[order]
    starts = np.unique(np.linspace(0, len(sure), _BINS + 1).astype(np.int64)[:-1])
    sizes = np.diff(np.append(starts, len(sure)))
    expected = np.add.reduceat(sure, starts)
    found = np.add.reduceat(came_true.astype(np.float64), starts)
    random = np.random.default_rng(seed)
    simulated = [
        np.abs(
            np.add.reduceat((random.random(len(sure)) < sure).astype(np.float64), starts) - expected
        ).sum()
        / len(sure)
        for _ in range(_SIMULATIONS)
    ]
    return Calibration(
        error=float(np.abs(found - expected).sum() / len(sure)),
        noise_floor=float(np.mean(simulated)),
        noise_limit=float(np.quantile(simulated, _NOISE_QUANTILE)),
        bins=tuple(
            Bin(count=int(size), confidence=float(mean / size), accuracy=float(hits / size))
            for size, mean, hits in zip(sizes, expected, found, strict=True)
        ),
    )


def abstention(confidences: FloatArray, right: BoolArray) -> tuple[Coverage, ...]:
    """Return coverage and accuracy for each of `THRESHOLDS`.

    Args:
        confidences: [N], of each row's answer, 0 to 1.
        right: [N], whether it was right.
    """
    answered = [confidences >= threshold for threshold in THRESHOLDS]
    return tuple(
        Coverage(
            threshold=threshold,
            coverage=float(kept.mean()),
            accuracy=float(right[kept].mean()) if kept.any() else 0.0,
        )
        for threshold, kept in zip(THRESHOLDS, answered, strict=True)
    )
