"""Protobuf to domain and back. Pure: no store, no database, no calls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from isogloss.v1.base_model_pb2 import BaseModel as BaseModelProto
from isogloss.v1.evaluation_pb2 import ClassificationMetrics, ConfusionCell, LabelMetrics
from isogloss.v1.evaluation_pb2 import Evaluation as EvaluationProto
from isogloss.v1.model_event_pb2 import LogLine, ModelEvent, StateChange
from isogloss.v1.model_pb2 import Hyperparameters, Model, ModelVariant, Progress, StepMetrics
from isogloss.v1.precision_pb2 import Precision
from isogloss.v1.split_pb2 import Split
from services.common import names
from services.common.errors import FailedPrecondition, FieldViolation, InvalidArgument, Reason
from services.common.names import Collection
from services.common.status import to_status
from services.trainer.catalogue import BaseModel
from services.trainer.creation import Wish
from services.trainer.evaluation import Averages, Evaluation
from services.trainer.tables import EventRow, ModelRow

_CONFUSION_CELLS = 20_000
# A cell takes at most 24 bytes: 20 000 are 480 kB, far from the 4 MiB of a message.


_EVALUATION = "/evaluation"


def timestamp(moment: datetime) -> Timestamp:
    """Return the moment, which is aware of its zone."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def model(row: ModelRow) -> Model:
    """Return a model as callers see it."""
    message = Model(
        name=row.name if row.id else "",
        display_name=row.display_name,
        base_model=f"baseModels/{row.base_model}",
        dataset=f"datasets/{row.dataset}",
        hyperparameters=Hyperparameters(**row.hyperparameters),
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
    )
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


def progress(fields: Mapping[str, Any]) -> Progress:
    """Return the progress from the fields of `messages.Progressed`."""
    rest = dict(fields)
    seconds = rest.pop("eta_seconds")
    message = Progress(**rest)
    if seconds is not None:
        eta = Duration()
        eta.FromMilliseconds(round(seconds * 1000))
        message.eta.CopyFrom(eta)
    return message


def step_metrics(fields: Mapping[str, Any], moment: datetime) -> StepMetrics:
    """Return one measurement from the fields of `messages.Measured`."""
    return StepMetrics(**fields, create_time=timestamp(moment))


def variant(fields: Mapping[str, Any]) -> ModelVariant:
    """Return one variant from what the database keeps of it."""
    return ModelVariant(
        precision=Precision.Value(fields["precision"]),
        digest=fields["digest"],
        size_bytes=fields["size_bytes"],
    )


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


def hyperparameters(message: Hyperparameters) -> dict[str, Any]:
    """Return what the caller set, by name."""
    return {field.name: value for field, value in message.ListFields()}


def wish(message: Model, *, tenant: str) -> Wish:
    """Return what a caller asks for."""
    return Wish(
        tenant=tenant,
        display_name=message.display_name,
        base_model=message.base_model,
        dataset=message.dataset,
        hyperparameters=hyperparameters(message.hyperparameters),
        positive_label=message.positive_label,
    )


def evaluated_model(name: str) -> str:
    """Return the id in `models/{model}/evaluation`.

    Raises:
        InvalidArgument: Where the name has another form.
    """
    parent, suffix = name.removesuffix(_EVALUATION), name.endswith(_EVALUATION)
    try:
        if suffix:
            return names.parse(parent, Collection.MODELS).id
    except InvalidArgument:
        # Said below, in the form that this method takes.
        pass
    raise InvalidArgument(
        FieldViolation(
            field="name",
            description=f"{name[:200]!r} is no name of the form models/ID{_EVALUATION}.",
        )
    )


def evaluation(
    *,
    model: str,
    split: str,
    tuned: Evaluation,
    baseline: Evaluation,
    agreement: tuple[float, float],
    moment: datetime,
) -> EvaluationProto:
    """Return what a model scored.

    Args:
        model: Bare id.
        split: `validation` or `test`.
        tuned: What the fine-tuned model scored.
        baseline: What the untrained one scored.
        agreement: Share of nearest neighbours with the same label, fine-tuned and untrained.
        moment: When it was measured.
    """
    return EvaluationProto(
        name=f"models/{model}/evaluation",
        split=Split.Value(f"SPLIT_{split.upper()}"),
        row_count=tuned.examples,
        positive_label=tuned.positive_label or "",
        metrics=metrics(tuned),
        baseline=metrics(baseline),
        create_time=timestamp(moment),
        neighbor_agreement=agreement[0],
        baseline_neighbor_agreement=agreement[1],
    )


def metrics(scores: Evaluation) -> ClassificationMetrics:
    """Return one set of scores."""
    binary = scores.positive_label is not None
    averages = [
        average(ClassificationMetrics.AVERAGING_MACRO, scores.macro),
        average(ClassificationMetrics.AVERAGING_MICRO, scores.micro),
        average(ClassificationMetrics.AVERAGING_WEIGHTED, scores.weighted),
    ]
    headline = Averages(precision=scores.precision, recall=scores.recall, f1=scores.f1)
    if binary:
        averages.insert(0, average(ClassificationMetrics.AVERAGING_BINARY, headline))
    index = {entry.label: number for number, entry in enumerate(scores.labels)}
    cells = sorted(scores.confusion, key=lambda cell: -cell.count)[:_CONFUSION_CELLS]
    return ClassificationMetrics(
        headline=(
            ClassificationMetrics.AVERAGING_BINARY
            if binary
            else ClassificationMetrics.AVERAGING_MACRO
        ),
        accuracy=scores.accuracy,
        precision=scores.precision,
        recall=scores.recall,
        f1=scores.f1,
        log_loss=scores.log_loss,
        averages=averages,
        labels=[
            LabelMetrics(
                label=entry.label,
                precision=entry.precision,
                recall=entry.recall,
                f1=entry.f1,
                support=entry.support,
            )
            for entry in scores.labels
        ],
        confusion=[
            ConfusionCell(
                actual=index[cell.actual], predicted=index[cell.predicted], count=cell.count
            )
            for cell in cells
        ],
    )


def average(
    averaging: ClassificationMetrics.Averaging.ValueType, scores: Averages
) -> ClassificationMetrics.Average:
    """Return precision, recall and F1 under one way of averaging."""
    return ClassificationMetrics.Average(
        averaging=averaging, precision=scores.precision, recall=scores.recall, f1=scores.f1
    )
