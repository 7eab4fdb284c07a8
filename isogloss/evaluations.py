"""What the client tells of evaluations: plain values; shares are 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from isogloss.dataset_report import LabelMode, Split
from isogloss.errors import IsoglossError


class Averaging(StrEnum):
    """How a number over several labels was made."""

    UNKNOWN = "UNKNOWN"
    BINARY = "BINARY"
    MACRO = "MACRO"
    MICRO = "MICRO"
    WEIGHTED = "WEIGHTED"
    SAMPLES = "SAMPLES"


class EvaluationState(StrEnum):
    """Where an evaluation is in its life. UNKNOWN: the server is newer than this client."""

    UNKNOWN = "UNKNOWN"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    READY = "READY"
    FAILED = "FAILED"

    @property
    def final(self) -> bool:
        """Whether an evaluation stays in this state."""
        return self in {EvaluationState.READY, EvaluationState.FAILED}


class Topic(StrEnum):
    """What a piece of advice is about."""

    UNKNOWN = "UNKNOWN"
    GAIN = "GAIN"
    MORE_ROWS = "MORE_ROWS"
    LABELS_TO_FEED = "LABELS_TO_FEED"
    CONFUSED_LABELS = "CONFUSED_LABELS"
    LABEL_ERRORS = "LABEL_ERRORS"
    CONFIDENCE = "CONFIDENCE"
    FEW_SCORED_ROWS = "FEW_SCORED_ROWS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure, and where it would lie on other rows of the same kind 19 times of 20."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """Precision, recall and F1 under one way of averaging."""

    averaging: Averaging
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMetrics:
    """How well one label was predicted."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    """Rows with the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Decisions of like confidence."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Whether confidences mean what they say."""

    error: float
    """Expected calibration error: mean distance of confidence and share of right answers."""

    noise_floor: float
    """The error that a perfectly calibrated model shows on so many rows, on average."""

    noise_limit: float
    """The error that it stays under 19 times of 20."""

    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What is left where answers below a confidence are not given."""

    threshold: float
    coverage: float
    """Share of rows that are still answered."""

    accuracy: float
    """Share of those that are right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationMetrics:
    """How well labels were predicted."""

    headline: Averaging
    accuracy: float
    precision: float
    recall: float
    f1: float
    log_loss: float
    """Mean cross-entropy, in nats."""

    averages: tuple[Average, ...]
    labels: tuple[LabelMetrics, ...]
    confusion: Mapping[tuple[str, str], int]
    """Rows by (true label, predicted label); cells that are not zero, largest first."""

    accuracy_interval: Interval | None
    f1_interval: Interval | None
    calibration: Calibration | None
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """What one model has over another on the same rows; above 0 is better."""

    accuracy: Interval
    f1: Interval
    accuracy_p_value: float
    """How often two equally good models would differ so much (McNemar's exact test)."""

    f1_p_value: float
    both_right: int
    gained: int
    """Rows that only this model got right."""

    lost: int
    """Rows that only the other one got right."""

    both_wrong: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How an embedding lays labelled texts out."""

    neighbor_accuracy: float
    """Share of texts whose label five nearest others vote for."""

    silhouette: float | None
    """How much nearer texts are to their own label than to the next, -1 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A model whose embeddings are cut to their first numbers."""

    dimension: int
    accuracy: float
    """Share of rows whose labels it names from them."""

    neighbor_accuracy: float
    """Share of texts whose label five nearest others vote for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """What a simple classifier learnt from so many training rows."""

    row_count: int
    accuracy: float
    f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """What parts of the training rows teach a simple classifier."""

    points: tuple[CurvePoint, ...]
    accuracy_per_doubling: float
    """What the last doubling of the rows added to the accuracy."""

    label_f1_per_doubling: Mapping[str, float]
    """By label: what a doubling adds to its F1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstError:
    """A row that was classified wrong with great confidence."""

    row: int
    """Its place among the rows of the split, from 0."""

    text: str
    """Empty where the texts were removed."""

    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSuspicion:
    """A training row whose label is probably wrong."""

    row: int
    """Its place among the training rows, from 0."""

    text: str
    """Empty where the texts were removed."""

    labels: tuple[str, ...]
    suggested: tuple[str, ...]
    confidence: float
    """How probable the labels that it has are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Something that could be done."""

    topic: Topic
    message: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a model scored on rows that it did not learn from."""

    name: str
    state: EvaluationState
    error: IsoglossError | None
    """Why it failed; set only in FAILED."""

    dataset: str
    dataset_content_hash: str
    split: Split
    label_mode: LabelMode
    row_count: int
    positive_label: str
    metrics: ClassificationMetrics
    create_time: datetime | None
    neighbor_agreement: float
    """Share of rows whose nearest other row by cosine has the same label."""

    geometry: Geometry | None
    worst_errors: tuple[WorstError, ...]
    texts_removed: bool
    """The dataset was purged, and the texts with it."""

    advice: tuple[Advice, ...]
    unknown_labels: Mapping[str, int]
    """Rows by labels that the model does not know; they were not scored."""

    unknown_label_row_count: int
    baseline: ClassificationMetrics | None
    """What a tuned logistic regression on the untrained embedding scored. None, like all below,
    in evaluations of further datasets."""

    baseline_neighbor_agreement: float
    nearest_neighbors: ClassificationMetrics | None
    """What the nearest training texts in the untrained embedding say."""

    neighbor_count: int
    improvement: Improvement | None
    """Over `baseline`."""

    improvement_over_neighbors: Improvement | None
    baseline_geometry: Geometry | None
    retention: float | None
    cuts: tuple[Cut, ...]
    """How much of the untrained sense of what is alike is left on other sentences, -1 to 1."""

    learning_curve: LearningCurve | None
    suspicious_labels: tuple[LabelSuspicion, ...]
    suspicious_label_count: int
    examined_row_count: int
