"""Making probabilities mean what they say, on rows that were not learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from services.trainer.head import Floats, probabilities
from services.trainer.learning.targets import Indicators, Targets, is_multi

_RANGE = (0.25, 4.0)
# Outside a factor of four either way, a few dozen rows say more about luck than about the model.

_USUAL_SPREAD = 0.5
# Before a row is seen: best temperatures were 0.7 to 2, half a natural logarithm around 1. Some
# twenty rows outweigh it; two rows must not decide alone.

_ENOUGH_POSITIVES = 5
# With fewer rows that have a label, the best threshold is that of one lucky row.

_MOST_NAMED = 10
# Of labels in a sentence.

DEFAULT_THRESHOLD = 0.5
_LEAST_THRESHOLD, _MOST_THRESHOLD = 0.05, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is chosen on rows that were not learnt from."""

    temperature: float
    thresholds: Floats
    """[K] where each label is judged by itself, else empty."""

    shared: tuple[int, ...] = ()
    """Labels that too few of the rows have for a threshold of their own."""


def choose(logits: Floats, targets: Targets) -> Choice:
    """Choose the temperature, and the thresholds where a row can have several labels.

    Args:
        logits: [N, K] of rows that the model did not learn from; there may be none.
        targets: Of the same rows.
    """
    temperature = fit_temperature(logits, targets)
    if not is_multi(targets):
        return Choice(temperature=temperature, thresholds=np.empty(0, dtype=np.float32))
    chances = probabilities(logits / np.float32(temperature), multi_label=True)
    return Choice(
        temperature=temperature,
        thresholds=fit_thresholds(chances, targets),
        shared=tuple(np.flatnonzero(_rare(targets)).tolist()),
    )


def shared_remark(labels: Sequence[str]) -> str:
    """Say of labels without a threshold of their own that they have none.

    Args:
        labels: Names, at least one.
    """
    named = ", ".join(f"`{label}`" for label in labels[:_MOST_NAMED])
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return (
        f"Fewer than {_ENOUGH_POSITIVES} of the rows that thresholds are chosen on have {named}"
        f"{more}: the threshold is the one that is best for all labels together. With more "
        "examples they get their own."
    )


def fit_temperature(logits: Floats, targets: Targets) -> float:
    """Return what to divide logits by so that the log loss on these rows is least; of few, near 1.

    Args:
        logits: [N, K] of rows that the model did not learn from.
        targets: Of the same rows.
    """

    def loss(exponent: float) -> float:
        mean = log_loss(logits / np.float32(np.exp(exponent)), targets)
        return len(targets) * mean + (exponent / _USUAL_SPREAD) ** 2 / 2

    if len(targets) == 0:
        return 1.0
    least, most = np.log(_RANGE)
    return float(np.exp(minimize_scalar(loss, bounds=(least, most), method="bounded").x))


def log_loss(logits: Floats, targets: Targets) -> float:
    """Return the mean negative log probability of the right label, or of the right decisions."""
    chances = probabilities(logits, multi_label=is_multi(targets)).astype(np.float64)
    if is_multi(targets):
        right = np.where(targets, chances, 1 - chances)
    else:
        right = chances[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean())


def fit_thresholds(chances: Floats, targets: Indicators) -> Floats:
    """Return the probability from which on each label is given, [K]: where its F1 is best.

    A label that few of the rows have takes the threshold that is best for all labels together;
    where they all have few, that is one half.

    Args:
        chances: [N, K], 0 to 1, of rows that the model did not learn from.
        targets: [N, K]
    """
    common = _best_threshold(chances.ravel(), targets.ravel())
    thresholds = [
        common if few else _best_threshold(chances[:, label], targets[:, label])
        for label, few in enumerate(_rare(targets))
    ]
    return np.asarray(thresholds, dtype=np.float32)


def _rare(targets: Indicators) -> Indicators:
    """Return of each label whether too few rows have it, [K]."""
    rare: Indicators = targets.sum(axis=0) < _ENOUGH_POSITIVES
    return rare


def _best_threshold(chances: Floats, targets: Indicators) -> float:
    """Return the threshold with the best F1, in the middle between two chances."""
    if targets.sum() < _ENOUGH_POSITIVES:
        return DEFAULT_THRESHOLD
    order = np.argsort(-chances, kind="stable")
    ordered = chances[order].astype(np.float64)
    hits = np.cumsum(targets[order])
    given = np.arange(1, len(ordered) + 1)
    f1 = 2 * hits / (given + targets.sum())
    # Rows of one chance are given the label together or not at all.
    last = np.append(ordered[:-1] > ordered[1:], True)
    best = int(np.flatnonzero(last)[f1[last].argmax()])
    below = ordered[best + 1] if best + 1 < len(ordered) else 0.0
    return float(np.clip((ordered[best] + below) / 2, _LEAST_THRESHOLD, _MOST_THRESHOLD))
