"""From calibrated logits to labels and confidences. Pure numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.inference.engine import FloatArray
from services.inference.model import LabelMode


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredLabel:
    """A label and how likely it is."""

    label: str
    confidence: float
    """0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The labels of one text, most confident first."""

    predictions: Sequence[ScoredLabel]
    """Those that are predicted."""

    labels: Sequence[ScoredLabel]
    """Those that are told of."""


def classify(
    logits: FloatArray,
    *,
    labels: Sequence[str],
    mode: LabelMode,
    thresholds: Sequence[float],
    top_k: int,
) -> list[Classification]:
    """Return the labels of each text.

    Args:
        logits: Of shape (texts, labels).
        labels: In the order of the logits.
        mode: How many labels a text can have.
        thresholds: With MULTI, from which confidence on each label is given.
        top_k: How many labels to tell of; 0 for all. Predictions are not cut.
    """
    probabilities = _probabilities(logits, mode)
    # Stable, so that equally likely labels stand in the model's order.
    order = np.argsort(-probabilities, axis=1, kind="stable")
    if mode is LabelMode.SINGLE and top_k:
        order = order[:, :top_k]
    ranked = np.take_along_axis(probabilities, order, axis=1)
    results = []
    for columns, confidences in zip(order.tolist(), ranked.tolist(), strict=True):
        scored = [
            ScoredLabel(label=labels[column], confidence=confidence)
            for column, confidence in zip(columns, confidences, strict=True)
        ]
        predictions = (
            scored[:1]
            if mode is LabelMode.SINGLE
            else [
                label
                for column, label in zip(columns, scored, strict=True)
                if label.confidence >= thresholds[column]
            ]
        )
        results.append(
            Classification(predictions=predictions, labels=scored[:top_k] if top_k else scored)
        )
    return results


def _probabilities(logits: FloatArray, mode: LabelMode) -> NDArray[np.float64]:
    """Softmax or sigmoid in double precision, safe for logits of any size."""
    wide = logits.astype(np.float64)
    if mode is LabelMode.SINGLE:
        powers = np.exp(wide - wide.max(axis=1, keepdims=True))
        softmax: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return softmax
    # The same as 1 / (1 + exp(-x)), and never overflows.
    sigmoid: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * wide))
    return sigmoid
