"""Protobuf to domain and back. Pure: no store, no database, no calls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from isogloss.v1.base_model_pb2 import BaseModel as BaseModelProto
from isogloss.v1.model_event_pb2 import LogLine, ModelEvent, StateChange
from isogloss.v1.model_pb2 import (
    Model,
    ModelVariant,
    Progress,
    StepMetrics,
    TrainingEstimate,
)
from isogloss.v1.precision_pb2 import Precision
from services.common.errors import FailedPrecondition, Reason
from services.common.status import to_status
from services.trainer import starts
from services.trainer.catalogue import BaseModel
from services.trainer.creation import Wish
from services.trainer.hyperparameters_proto import (
    hyperparameters_from_proto,
    hyperparameters_to_proto,
)
from services.trainer.tables import EventRow, ModelRow


def timestamp(moment: datetime) -> Timestamp:
    """Return the moment, which is aware of its zone."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def model(row: ModelRow, *, queue_position: int = 0) -> Model:
    """Return a model as callers see it.

    Args:
        row: The model.
        queue_position: 1 is the next; 0 where it does not wait.
    """
    message = Model(
        name=row.name if row.id else "",
        display_name=row.display_name,
        base_model=starts.full_name(row.base_model),
        dataset=f"datasets/{row.dataset}",
        hyperparameters=hyperparameters_to_proto(row.hyperparameters),
        positive_label=row.positive_label,
        state=Model.State.Value(f"STATE_{row.state}"),
        state_reason=row.state_reason,
        variants=[variant(fields) for fields in row.variants or ()],
        dimension=row.dimension,
        max_tokens=row.max_tokens,
        label_count=row.label_count,
        dataset_content_hash=row.dataset_content_hash,
        attempt=row.attempt,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        queue_position=queue_position,
        etag=row.etag if row.id else "",
        webhook_uri=row.webhook_uri,
    )
    if row.estimate is not None:
        message.estimate.CopyFrom(training_estimate(row.estimate))
    if row.error is not None:
        error = FailedPrecondition(row.error, reason=Reason.TRAINING_FAILED)
        message.error.CopyFrom(to_status(error))
    if row.progress is not None:
        message.progress.CopyFrom(progress(row.progress))
    if row.metrics is not None:
        fields = dict(row.metrics)
        moment = datetime.fromisoformat(fields.pop("create_time"))
        message.latest_metrics.CopyFrom(step_metrics(fields, moment))
    if row.start_time is not None:
        message.start_time.CopyFrom(timestamp(row.start_time))
    if row.end_time is not None:
        message.end_time.CopyFrom(timestamp(row.end_time))
    return message


def training_estimate(fields: Mapping[str, Any]) -> TrainingEstimate:
    """Return the estimate from the fields of `estimate.Estimate`."""
    return TrainingEstimate(
        duration=duration(fields["seconds"]),
        peak_memory_bytes=fields["peak_memory_bytes"],
        total_steps=fields["total_steps"],
    )


def duration(seconds: float) -> Duration:
    """Return the seconds, to the millisecond."""
    message = Duration()
    message.FromMilliseconds(round(seconds * 1000))
    return message


def progress(fields: Mapping[str, Any]) -> Progress:
    """Return the progress from the fields of `messages.Progressed`."""
    rest = dict(fields)
    seconds = rest.pop("eta_seconds")
    message = Progress(**rest)
    if seconds is not None:
        message.eta.CopyFrom(duration(seconds))
    return message


def step_metrics(fields: Mapping[str, Any], moment: datetime) -> StepMetrics:
    """Return one measurement from the fields of `messages.Measured`."""
    return StepMetrics(**fields, create_time=timestamp(moment))


def variant(fields: Mapping[str, Any]) -> ModelVariant:
    """Return one variant from what the database keeps of it."""
    return ModelVariant(**{**fields, "precision": Precision.Value(fields["precision"])})


def event(row: EventRow) -> ModelEvent:
    """Return one event."""
    message = ModelEvent(
        sequence=row.sequence,
        create_time=timestamp(row.create_time),
        actor=row.actor,
        attempt=row.attempt,
    )
    if row.kind == "entered":
        state = Model.State.Value(f"STATE_{row.body['state']}")
        message.state_change.CopyFrom(StateChange(state=state, reason=row.body["reason"]))
    elif row.kind == "measured":
        message.step_metrics.CopyFrom(step_metrics(row.body, row.create_time))
    else:
        message.log_line.CopyFrom(LogLine(**row.body))
    return message


def base_model(base: BaseModel) -> BaseModelProto:
    """Return a base model as callers see it."""
    return BaseModelProto(
        name=f"baseModels/{base.id}",
        display_name=base.display_name,
        description=base.description,
        dimension=base.dimension,
        max_tokens=base.max_tokens,
        parameter_count=base.parameter_count,
        license=base.license,
        digest=base.digest,
    )


def wish(message: Model, *, tenant: str, auto_start: bool = True) -> Wish:
    """Return what a caller asks for."""
    return Wish(
        tenant=tenant,
        display_name=message.display_name,
        base_model=message.base_model,
        dataset=message.dataset,
        hyperparameters=hyperparameters_from_proto(message.hyperparameters),
        positive_label=message.positive_label,
        webhook_uri=message.webhook_uri,
        auto_start=auto_start,
    )
