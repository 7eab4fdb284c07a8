"""Messages of models to the values of this package, and back where a call sends one.

Datasets are read by `dataset_convert`, what is inferred by `inference_convert`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from isogloss import aliases, models
from isogloss.status import error_from_status
from isogloss.v1 import (
    alias_pb2,
    base_model_pb2,
    hyperparameters_pb2,
    model_event_pb2,
    model_pb2,
)
from isogloss.wire import chosen, maybe, member, number, optional_member, time

_NAMES = {field.name for field in fields(models.Hyperparameters)}


def hyperparameters_to_proto(
    given: models.Hyperparameters,
) -> hyperparameters_pb2.Hyperparameters:
    """Leave out what the server is to choose.

    Raises:
        InvalidArgument: The preset is none that this client knows.
    """
    wanted = {name: value for name, value in asdict(given).items() if value is not None}
    preset = chosen(models.Preset, "hyperparameters.preset", given.preset)
    wanted["preset"] = number(hyperparameters_pb2.Hyperparameters.Preset.Value, "PRESET", preset)
    return hyperparameters_pb2.Hyperparameters(**wanted)


def hyperparameters(message: hyperparameters_pb2.Hyperparameters) -> models.Hyperparameters:
    """Read hyperparameters; what is unset is None."""
    given: dict[str, Any] = {
        field.name: value if isinstance(value, int | float) else tuple(value)
        for field, value in message.ListFields()
        if field.name in _NAMES
    }
    preset = optional_member(models.Preset, "preset", message)
    return models.Hyperparameters(**{**given, "preset": preset})


def base_model(message: base_model_pb2.BaseModel) -> models.BaseModel:
    """Read a base model."""
    return models.BaseModel(
        name=message.name,
        display_name=message.display_name,
        description=message.description,
        dimension=message.dimension,
        max_tokens=message.max_tokens,
        parameter_count=message.parameter_count,
        license=message.license,
        digest=message.digest,
    )


def model(message: model_pb2.Model) -> models.Model:
    """Read a model."""
    return models.Model(
        name=message.name,
        display_name=message.display_name,
        base_model=message.base_model,
        dataset=message.dataset,
        hyperparameters=hyperparameters(message.hyperparameters),
        positive_label=message.positive_label,
        state=member(models.ModelState, "state", message),
        state_reason=message.state_reason,
        error=error_from_status(message.error) if message.HasField("error") else None,
        progress=_progress(message.progress) if message.HasField("progress") else None,
        latest_metrics=(
            step_metrics(message.latest_metrics) if message.HasField("latest_metrics") else None
        ),
        variants=tuple(
            models.ModelVariant(
                precision=member(models.Precision, "precision", variant),
                digest=variant.digest,
                size_bytes=variant.size_bytes,
                min_cosine=variant.min_cosine,
                accuracy_loss=variant.accuracy_loss,
                speedup=variant.speedup,
            )
            for variant in message.variants
        ),
        dimension=message.dimension,
        max_tokens=message.max_tokens,
        label_count=message.label_count,
        dataset_content_hash=message.dataset_content_hash,
        attempt=message.attempt,
        create_time=time(message, "create_time"),
        update_time=time(message, "update_time"),
        start_time=time(message, "start_time"),
        end_time=time(message, "end_time"),
        queue_position=message.queue_position,
        estimate=_estimate(message.estimate) if message.HasField("estimate") else None,
        etag=message.etag,
        webhook_uri=message.webhook_uri,
    )


def model_states_to_proto(
    states: Iterable[models.ModelState | str],
) -> list[model_pb2.Model.State.ValueType]:
    """Name states on the wire.

    Raises:
        InvalidArgument: One is no state.
    """
    wanted = (chosen(models.ModelState, "states", state) for state in states)
    return [number(model_pb2.Model.State.Value, "STATE", state) for state in wanted]


def _estimate(message: model_pb2.TrainingEstimate) -> models.TrainingEstimate:
    return models.TrainingEstimate(
        seconds=message.duration.ToTimedelta().total_seconds(),
        peak_memory_bytes=message.peak_memory_bytes,
        total_steps=message.total_steps,
    )


def _progress(message: model_pb2.Progress) -> models.Progress:
    return models.Progress(
        step=message.step,
        total_steps=message.total_steps,
        epoch=message.epoch,
        total_epochs=message.total_epochs,
        eta=message.eta.ToTimedelta().total_seconds() if message.HasField("eta") else None,
        fraction=message.fraction,
    )


def step_metrics(message: model_pb2.StepMetrics) -> models.StepMetrics:
    """Read a measurement."""
    return models.StepMetrics(
        step=message.step,
        epoch=message.epoch,
        loss=message.loss,
        accuracy=message.accuracy,
        precision=message.precision,
        recall=message.recall,
        f1=message.f1,
        train_loss=maybe(message, "train_loss"),
        create_time=time(message, "create_time"),
    )


def event_kinds_to_proto(
    kinds: Iterable[models.EventKind | str],
) -> list[model_event_pb2.ModelEvent.Kind.ValueType]:
    """Name kinds of events on the wire.

    Raises:
        InvalidArgument: One is no kind.
    """
    wanted = (chosen(models.EventKind, "kinds", kind) for kind in kinds)
    return [number(model_event_pb2.ModelEvent.Kind.Value, "KIND", kind) for kind in wanted]


def model_event(message: model_event_pb2.ModelEvent) -> models.ModelEvent:
    """Read an event."""
    detail: models.StateChange | models.StepMetrics | models.LogLine | None = None
    match message.WhichOneof("event"):
        case "state_change":
            change = message.state_change
            state = member(models.ModelState, "state", change)
            detail = models.StateChange(state=state, reason=change.reason)
        case "step_metrics":
            detail = step_metrics(message.step_metrics)
        case "log_line":
            line = message.log_line
            detail = models.LogLine(level=line.level, message=line.message)
    return models.ModelEvent(
        sequence=message.sequence,
        create_time=time(message, "create_time"),
        actor=message.actor,
        attempt=message.attempt,
        detail=detail,
    )


def alias(message: alias_pb2.Alias) -> aliases.Alias:
    """Read an alias."""
    return aliases.Alias(
        name=message.name,
        model=message.model,
        preload=message.preload,
        version=message.version,
        actor=message.actor,
        update_time=time(message, "update_time"),
    )


def alias_version(message: alias_pb2.AliasVersion) -> aliases.AliasVersion:
    """Read what an alias stood for."""
    return aliases.AliasVersion(
        name=message.name,
        version=message.version,
        model=message.model,
        previous_model=message.previous_model,
        preload=message.preload,
        restored_version=message.restored_version,
        actor=message.actor,
        create_time=time(message, "create_time"),
    )
