"""What the client tells of models: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from isogloss.errors import IsoglossError


class ModelState(StrEnum):
    """Where a model is in its life. UNKNOWN: the server is newer than this client."""

    UNKNOWN = "UNKNOWN"
    QUEUED = "QUEUED"
    TRAINING = "TRAINING"
    EXPORTING = "EXPORTING"
    READY = "READY"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    PAUSED = "PAUSED"

    @property
    def final(self) -> bool:
        """Whether a model stays in this state."""
        return self in {ModelState.READY, ModelState.FAILED, ModelState.CANCELLED}


class Precision(StrEnum):
    """How exactly a model is computed."""

    UNKNOWN = "UNKNOWN"
    EXACT = "EXACT"
    QUANTIZED = "QUANTIZED"


class Preset(StrEnum):
    """How much time the training may take for its quality."""

    UNKNOWN = "UNKNOWN"

    FAST = "FAST"
    """The lower half of the encoder stays as it is."""

    BALANCED = "BALANCED"
    """The whole encoder learns."""

    THOROUGH = "THOROUGH"
    """More passes over the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """How a model learns. None: chosen by the server."""

    preset: Preset | None = None
    """What the server chooses by."""

    epochs: int | None = None
    """Passes over the training rows, 1 to 100."""

    max_steps: int | None = None
    """Steps at most, 1 to 10,000,000."""

    learning_rate: float | None = None
    """Peak learning rate of the encoder, 1e-6 to 1e-2."""

    head_learning_rate: float | None = None
    """Peak learning rate of the classifier, 1e-6 to 1."""

    batch_size: int | None = None
    """Texts of one step, 2 to 256."""

    warmup: float | None = None
    """Share of the steps in which the learning rate rises, 0 to 0.5."""

    weight_decay: float | None = None
    """Decoupled weight decay of the encoder's matrices, 0 to 1."""

    label_smoothing: float | None = None
    """Share of the target that is spread over all labels, 0 to 0.5."""

    layer_decay: float | None = None
    """Factor on the learning rate from each layer to the one below, 0.1 to 1."""

    frozen_layers: int | None = None
    """Layers, from the lowest, that stay as they are, 0 to 100."""

    contrastive_weight: float | None = None
    """Weight of the supervised contrastive loss beside the cross-entropy, 0 to 10."""

    contrastive_temperature: float | None = None
    """Temperature of the contrastive loss, 0.01 to 1."""

    anchor_weight: float | None = None
    """How much of the base's geometry is kept, 0 to 10."""

    class_balance: float | None = None
    """How far rare labels are made up for, 0 to 1."""

    average_decay: float | None = None
    """Decay per step of the moving average that is published, 0 to 0.9999."""

    dropout: float | None = None
    """Dropout in the encoder, 0 to 0.5."""

    token_dropout: float | None = None
    """Share of a text's tokens that are hidden from the encoder in a step, 0 to 0.5."""

    matryoshka_dimensions: tuple[int, ...] | None = None
    """Numbers to which embeddings may be cut later, ascending, each less than the base's own."""

    max_tokens: int | None = None
    """Tokens of a text that the model reads, 8 to 512."""

    seed: int | None = None
    """Seed of everything random, 0 or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """An untrained text encoder that models start from. It can be embedded with as it is."""

    name: str
    display_name: str
    description: str
    dimension: int
    max_tokens: int
    parameter_count: int
    license: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is."""

    step: int
    total_steps: int
    epoch: float
    total_epochs: float
    eta: float | None
    """Seconds that are left until READY, estimated."""

    fraction: float
    """Share of the whole run that is done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEstimate:
    """What a training will need; another machine may take half or twice as long."""

    seconds: float
    """From the start of the run to READY, without waiting."""

    peak_memory_bytes: int
    total_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """Metrics on held-out rows at one step; all shares are 0 to 1."""

    step: int
    """0 is the untrained baseline."""

    epoch: float
    loss: float
    """Mean cross-entropy, in nats."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    train_loss: float | None
    create_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVariant:
    """One servable form of a model."""

    precision: Precision
    digest: str
    size_bytes: int
    min_cosine: float
    """The smallest cosine of its embeddings with those of the model as it was trained."""

    accuracy_loss: float
    """How much less often it is right than EXACT, 0 to 1; negative where it is right more often."""

    speedup: float
    """How many times faster than EXACT it was on the machine that trained the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A base model fine-tuned on a dataset: watched while it trains, used when it is READY."""

    name: str
    """Full resource name, `models/{model}`. Empty where the call only checked."""

    display_name: str
    base_model: str
    dataset: str
    hyperparameters: Hyperparameters
    positive_label: str
    state: ModelState
    state_reason: str
    error: IsoglossError | None
    """Why the run failed; set only in FAILED."""

    progress: Progress | None
    latest_metrics: StepMetrics | None
    variants: tuple[ModelVariant, ...]
    dimension: int
    max_tokens: int
    label_count: int
    dataset_content_hash: str
    attempt: int
    create_time: datetime | None
    update_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    queue_position: int
    """Its place among all that wait for a trainer, 1 being the next; 0 where it does not wait."""

    estimate: TrainingEstimate | None
    """What the training was expected to need when it was created."""

    etag: str
    webhook_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """A model entered a state."""

    state: ModelState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of a run's log."""

    level: str
    message: str


class EventKind(StrEnum):
    """What an event can be."""

    UNKNOWN = "UNKNOWN"
    STATE_CHANGE = "STATE_CHANGE"
    STEP_METRICS = "STEP_METRICS"
    LOG_LINE = "LOG_LINE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvent:
    """Something that happened to a model."""

    sequence: int
    create_time: datetime | None
    actor: str
    attempt: int
    detail: StateChange | StepMetrics | LogLine | None
    """What happened; None: a kind of event that this client does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUpdate:
    """One step of watching a model."""

    model: Model
    """The model as it is now."""

    event: ModelEvent | None
    """What made the server tell; None where only the progress changed."""
