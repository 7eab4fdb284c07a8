"""What a run's process tells its supervisor: one JSON object a line. Knows neither side."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from services.trainer.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """The run entered a state."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What was chosen where the caller left it open."""

    hyperparameters: dict[str, Any]
    """By name, nothing left open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """How far the whole run is; the fields of `isogloss.v1.Progress`."""

    step: int
    total_steps: int
    epoch: float
    total_epochs: float
    fraction: float
    eta_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Metrics on held-out rows; the fields of `isogloss.v1.StepMetrics`."""

    step: int
    epoch: float
    loss: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    train_loss: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A line of the run's log."""

    level: str
    """`info`, `warning` or `error`."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Everything is uploaded; nothing is published."""

    manifest: str
    """`isogloss.storage.v1.ModelManifest` as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The run gave up."""

    message: str
    """One or two sentences for the owner of the model: what was found and what to do."""

    retry: bool
    """Whether the same run may go better the next time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Halted:
    """The run was asked to stop, left a checkpoint if it had learnt anything, and stopped."""


_KINDS = {
    "entered": Entered,
    "planned": Planned,
    "progressed": Progressed,
    "measured": Measured,
    "logged": Logged,
    "finished": Finished,
    "failed": Failed,
    "halted": Halted,
}
Report = Entered | Planned | Progressed | Measured | Logged
"""What happens on the way."""

End = Finished | Failed | Halted
"""What is told last."""

Message = Report | End

Tell = Callable[[Message], None]
"""Takes what happens, in order."""


def encode(message: Message) -> str:
    """Return the line, without its end.

    Raises:
        ValueError: Where a number is not finite.
    """
    kind = type(message).__name__.lower()
    return json.dumps({"kind": kind, **asdict(message)}, allow_nan=False)


def decode(line: str) -> Message:
    """Return what the line says.

    Raises:
        ValueError: Where the line is none that `encode` writes.
    """
    try:
        fields = json.loads(line)
        kind = _KINDS[fields.pop("kind")]
        if kind is Entered:
            fields["state"] = State(fields["state"])
        message: Message = kind(**fields)
    except (AttributeError, KeyError, TypeError) as error:
        msg = f"not a message of a run: {line[:200]!r}"
        raise ValueError(msg) from error
    return message
