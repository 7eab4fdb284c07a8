"""From calibrated logits to labels and confidences. Pure numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.common.errors import FieldViolation, InvalidArgument
from services.inference.engine import FloatArray
from services.inference.model import LabelMode, Model


class ScoredLabel(NamedTuple):
    """A label and how likely it is. A tuple: one is made for every label of every text."""

    label: str
    confidence: float
    """0 to 1."""

    raw_score: float
    """The logit that the confidence is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The labels of one text, most confident first."""

    predictions: Sequence[ScoredLabel]
    """Those that are predicted."""

    labels: Sequence[ScoredLabel]
    """Those that are told of."""

    abstained: bool
    """Whether nothing is predicted because no label is confident enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelWish:
    """What a caller wants of the labels, whatever the model."""

    top_k: int = 0
    """How many labels to tell of; 0 for all. Predictions are not cut."""

    threshold: float | None = None
    """From which confidence on labels are predicted; None for each label's own."""

    label_thresholds: Mapping[str, float] = field(default_factory=dict)
    """The same for single labels; before `threshold`."""

    abstain_below: float | None = None
    """Predict nothing where no confidence reaches this; None for never."""

    raw_scores: bool = False
    """Whether logits are told as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """How the logits of one model become labels for one call."""

    labels: tuple[str, ...]
    """In the order of the logits."""

    mode: LabelMode
    thresholds: Sequence[float]
    """With MULTI, from which confidence on each label is predicted."""

    told: int
    """How many labels to tell of, at least 1."""

    abstain_below: float
    raw_scores: bool
    """Whether logits are told as well."""

    @property
    def most_predictions(self) -> int:
        """How many labels a text can have."""
        return 1 if self.mode is LabelMode.SINGLE else len(self.labels)


def label_rule(wish: LabelWish, model: Model) -> LabelRule:
    """Return how `model` fulfils a wish.

    Raises:
        InvalidArgument: Naming everything that it cannot fulfil.
    """
    violations = _threshold_violations(wish, model)
    if violations:
        raise InvalidArgument(violations)
    thresholds: Sequence[float] = ()
    if model.label_mode is LabelMode.MULTI:
        thresholds = [
            wish.label_thresholds.get(label, own if wish.threshold is None else wish.threshold)
            for label, own in zip(model.labels, model.thresholds, strict=True)
        ]
    return LabelRule(
        labels=model.labels,
        mode=model.label_mode,
        thresholds=thresholds,
        told=min(wish.top_k or len(model.labels), len(model.labels)),
        abstain_below=wish.abstain_below or 0.0,
        raw_scores=wish.raw_scores,
    )


def classify(logits: FloatArray, rule: LabelRule) -> list[Classification]:
    """Return the labels of each text.

    Args:
        logits: Of shape (texts, labels).
        rule: What is predicted, and what is told.
    """
    probabilities = _probabilities(logits, rule.mode)
    # Stable, so that equally likely labels stand in the model's order.
    order = np.argsort(-probabilities, axis=1, kind="stable")
    if rule.mode is LabelMode.SINGLE:
        order = order[:, : rule.told]
    ranked = np.take_along_axis(probabilities, order, axis=1)
    raw = np.take_along_axis(logits, order, axis=1)
    return [
        _classification(columns, confidences, scores, rule)
        for columns, confidences, scores in zip(
            order.tolist(), ranked.tolist(), raw.tolist(), strict=True
        )
    ]


def _classification(
    columns: Sequence[int], confidences: Sequence[float], scores: Sequence[float], rule: LabelRule
) -> Classification:
    names = (rule.labels[column] for column in columns)
    scored = list(map(ScoredLabel._make, zip(names, confidences, scores, strict=True)))
    abstained = confidences[0] < rule.abstain_below
    if abstained:
        predictions = []
    elif rule.mode is LabelMode.SINGLE:
        predictions = scored[:1]
    else:
        predictions = [
            label
            for column, label in zip(columns, scored, strict=True)
            if label.confidence >= rule.thresholds[column]
        ]
    return Classification(predictions=predictions, labels=scored[: rule.told], abstained=abstained)


def _threshold_violations(wish: LabelWish, model: Model) -> list[FieldViolation]:
    if model.label_mode is LabelMode.SINGLE:
        given = {"threshold": wish.threshold is not None, "label_thresholds": wish.label_thresholds}
        return [
            FieldViolation(
                field=field,
                description=(
                    f"{model.name} gives each text the one label that is most likely, whatever "
                    "its confidence. Leave it out; abstain_below predicts nothing where that is "
                    "too low."
                ),
            )
            for field, present in given.items()
            if present
        ]
    return [
        FieldViolation(
            field=f"label_thresholds[{label}]",
            description=f"{model.name} has no such label. Send labels that it has.",
        )
        for label in sorted(wish.label_thresholds.keys() - set(model.labels))
    ]


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
