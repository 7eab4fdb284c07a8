"""What a training tells on its way, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the run is."""

    step: int
    total_steps: int
    epoch: float
    """Passes over the rows that are done, with fraction."""

    epochs: int
    eta_seconds: float | None
    """Until the last step; None before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """The model on held-out rows after a step; step 0 is the untrained baseline."""

    step: int
    epoch: float
    loss: float
    """Log loss."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    train_loss: float | None
    """Mean of the steps since the measurement before; None at step 0."""


class Listener(Protocol):
    """Who wants to know. Called between steps: whatever it raises ends the run."""

    def on_progress(self, progress: Progress) -> None:
        """Take note of a step."""

    def on_metrics(self, metrics: StepMetrics) -> None:
        """Take note of a measurement."""


class Cancelled(Exception):
    """The run was asked to stop, and did."""


class Diverged(Exception):
    """The loss is no longer a number, and would be none again; the message says what to do."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(
            "The training diverged: the loss is no longer a number. "
            "Choose a smaller learning_rate, or leave it to be chosen."
        )
