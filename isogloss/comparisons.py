"""What the client tells of maps before and after training, and of models side by side."""

from __future__ import annotations

from dataclasses import dataclass

from isogloss.dataset_report import Split
from isogloss.evaluations import Improvement, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionPoint:
    """One text on the map."""

    row: int
    text: str
    """Empty where the texts were removed."""

    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    before: tuple[float, float]
    """Where it lies in the untrained embedding."""

    after: tuple[float, float]
    """Where it lies in the fine-tuned one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A map of the same held-out texts before and after training."""

    name: str
    split: Split
    labels: tuple[str, ...]
    points: tuple[ProjectionPoint, ...]
    before_trust: float
    """How far neighbours on the map are neighbours in the embedding."""

    after_trust: float
    texts_removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonScore:
    """What one of the models scored on the common rows."""

    model: str
    evaluation: str
    accuracy: Interval
    f1: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonPair:
    """Two of the models."""

    first: str
    second: str
    improvement: Improvement
    """What the second has over the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Models on the same rows."""

    dataset: str
    split: Split
    row_count: int
    left_out_count: int
    """Rows that some of the models did not score."""

    scores: tuple[ComparisonScore, ...]
    pairs: tuple[ComparisonPair, ...]
