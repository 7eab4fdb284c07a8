"""Messages of the wire to the values of this package, and back where a call sends one."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

import numpy as np
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from isogloss import datasets, inference, models
from isogloss.status import error_from_status
from isogloss.v1 import (
    base_model_pb2,
    dataset_pb2,
    dataset_service_pb2,
    evaluation_pb2,
    example_pb2,
    finding_pb2,
    inference_service_pb2,
    model_event_pb2,
    model_pb2,
    split_pb2,
)

E = TypeVar("E", bound=StrEnum)

_SPLITS = {
    datasets.Split.TRAIN: split_pb2.SPLIT_TRAIN,
    datasets.Split.VALIDATION: split_pb2.SPLIT_VALIDATION,
    datasets.Split.TEST: split_pb2.SPLIT_TEST,
}
_TRUNCATIONS = {
    inference.Truncation.NONE: inference_service_pb2.TRUNCATION_NONE,
    inference.Truncation.START: inference_service_pb2.TRUNCATION_START,
    inference.Truncation.END: inference_service_pb2.TRUNCATION_END,
}


def _member(kind: type[E], field: str, message: Message) -> E:
    """Read an enum field; a value that is newer than this client is UNKNOWN."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type
    number = getattr(message, field)
    known = values.values_by_number.get(number) if values is not None else None
    spoken = known.name if known is not None else ""
    return next((member for member in kind if spoken.endswith("_" + member.name)), kind["UNKNOWN"])


def _time(message: Message, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    return stamp.ToDatetime(tzinfo=UTC)


def split_to_proto(split: datasets.Split) -> split_pb2.Split.ValueType:
    """Name a split on the wire."""
    return _SPLITS[split]


def truncation_to_proto(
    truncation: inference.Truncation | str,
) -> inference_service_pb2.Truncation.ValueType:
    """Name a truncation on the wire.

    Raises:
        ValueError: It is none of `none`, `start`, `end`.
    """
    return _TRUNCATIONS[inference.Truncation(truncation)]


def options_to_proto(options: datasets.DatasetOptions) -> dataset_pb2.DatasetOptions:
    """Leave out what the server is to choose."""
    return dataset_pb2.DatasetOptions(
        has_header=options.has_header,
        delimiter=options.delimiter,
        profile=options.profile,
        split=dataset_pb2.SplitOptions(
            validation_share=options.validation_share,
            test_share=options.test_share,
            seed=options.seed,
        ),
    )


def hyperparameters_to_proto(given: models.Hyperparameters) -> model_pb2.Hyperparameters:
    """Leave out what the server is to choose."""
    return model_pb2.Hyperparameters(
        epochs=given.epochs,
        learning_rate=given.learning_rate,
        batch_size=given.batch_size,
        seed=given.seed,
    )


def dataset(message: dataset_pb2.Dataset) -> datasets.Dataset:
    """Read a dataset."""
    options, progress = message.options, message.validation_progress
    return datasets.Dataset(
        name=message.name,
        display_name=message.display_name,
        state=_member(datasets.DatasetState, "state", message),
        options=datasets.DatasetOptions(
            has_header=options.has_header if options.HasField("has_header") else None,
            delimiter=options.delimiter,
            profile=options.profile,
            validation_share=_set(options.split, "validation_share"),
            test_share=_set(options.split, "test_share"),
            seed=options.split.seed if options.split.HasField("seed") else None,
        ),
        error=error_from_status(message.error) if message.HasField("error") else None,
        uploads={_split(upload): upload.committed_size for upload in message.uploads},
        validation_progress=(
            datasets.ValidationProgress(phase=progress.phase, fraction=progress.fraction)
            if message.HasField("validation_progress")
            else None
        ),
        report=_report(message.report) if message.HasField("report") else None,
        content_hash=message.content_hash,
        create_time=_time(message, "create_time"),
        update_time=_time(message, "update_time"),
        validate_time=_time(message, "validate_time"),
    )


def _set(message: Message, field: str) -> float | None:
    return float(getattr(message, field)) if message.HasField(field) else None


def _split(message: Message) -> datasets.Split:
    return _member(datasets.Split, "split", message)


def _report(message: dataset_pb2.DatasetReport) -> datasets.DatasetReport:
    return datasets.DatasetReport(
        files=tuple(
            datasets.FileReport(
                split=_split(file),
                size_bytes=file.size_bytes,
                sha256=file.sha256,
                delimiter=file.delimiter,
                has_header=file.has_header,
                text_column=file.text_column,
                label_column=file.label_column,
                encoding=file.encoding,
                row_count=file.row_count,
            )
            for file in message.files
        ),
        rows={_split(size): size.row_count for size in message.splits},
        label_count=message.label_count,
        removed_labels=tuple(message.removed_labels),
        imbalance=message.imbalance,
        over_long_texts=message.over_long_texts,
        findings=tuple(
            datasets.FindingCount(
                code=found.code,
                severity=_member(datasets.Severity, "severity", found),
                count=found.count,
            )
            for found in message.findings
        ),
        warnings=tuple(message.warnings),
    )


def _example(message: example_pb2.Example) -> datasets.Example:
    return datasets.Example(
        text=message.text,
        labels=tuple(message.labels),
        split=_split(message),
        line=message.line,
        row=message.row,
    )


def preview(message: dataset_service_pb2.SplitPreview) -> datasets.SplitPreview:
    """Read the beginning of one split."""
    return datasets.SplitPreview(
        split=_split(message),
        examples=tuple(_example(example) for example in message.examples),
        labels={label.label: label.count for label in message.labels},
        row_count=message.row_count,
    )


def finding(message: finding_pb2.Finding) -> datasets.Finding:
    """Read a finding."""
    return datasets.Finding(
        split=_split(message),
        line=message.line,
        row=message.row,
        column=message.column,
        code=message.code,
        severity=_member(datasets.Severity, "severity", message),
        message=message.message,
        excerpt=message.excerpt,
        fix=message.fix,
        count=message.count,
    )


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
    given = message.hyperparameters
    return models.Model(
        name=message.name,
        display_name=message.display_name,
        base_model=message.base_model,
        dataset=message.dataset,
        hyperparameters=models.Hyperparameters(
            epochs=given.epochs if given.HasField("epochs") else None,
            learning_rate=_set(given, "learning_rate"),
            batch_size=given.batch_size if given.HasField("batch_size") else None,
            seed=given.seed if given.HasField("seed") else None,
        ),
        positive_label=message.positive_label,
        state=_member(models.ModelState, "state", message),
        state_reason=message.state_reason,
        error=error_from_status(message.error) if message.HasField("error") else None,
        progress=_progress(message.progress) if message.HasField("progress") else None,
        latest_metrics=(
            _step_metrics(message.latest_metrics) if message.HasField("latest_metrics") else None
        ),
        variants=tuple(
            models.ModelVariant(
                precision=_member(models.Precision, "precision", variant),
                digest=variant.digest,
                size_bytes=variant.size_bytes,
            )
            for variant in message.variants
        ),
        dimension=message.dimension,
        max_tokens=message.max_tokens,
        label_count=message.label_count,
        dataset_content_hash=message.dataset_content_hash,
        attempt=message.attempt,
        create_time=_time(message, "create_time"),
        update_time=_time(message, "update_time"),
        start_time=_time(message, "start_time"),
        end_time=_time(message, "end_time"),
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


def _step_metrics(message: model_pb2.StepMetrics) -> models.StepMetrics:
    return models.StepMetrics(
        step=message.step,
        epoch=message.epoch,
        loss=message.loss,
        accuracy=message.accuracy,
        precision=message.precision,
        recall=message.recall,
        f1=message.f1,
        train_loss=_set(message, "train_loss"),
        create_time=_time(message, "create_time"),
    )


def model_event(message: model_event_pb2.ModelEvent) -> models.ModelEvent:
    """Read an event."""
    detail: models.StateChange | models.StepMetrics | models.LogLine | None = None
    match message.WhichOneof("event"):
        case "state_change":
            change = message.state_change
            state = _member(models.ModelState, "state", change)
            detail = models.StateChange(state=state, reason=change.reason)
        case "step_metrics":
            detail = _step_metrics(message.step_metrics)
        case "log_line":
            line = message.log_line
            detail = models.LogLine(level=line.level, message=line.message)
    return models.ModelEvent(
        sequence=message.sequence,
        create_time=_time(message, "create_time"),
        actor=message.actor,
        attempt=message.attempt,
        detail=detail,
    )


def evaluation(message: evaluation_pb2.Evaluation) -> models.Evaluation:
    """Read an evaluation."""
    return models.Evaluation(
        name=message.name,
        split=_split(message),
        row_count=message.row_count,
        positive_label=message.positive_label,
        metrics=_classification_metrics(message.metrics),
        baseline=_classification_metrics(message.baseline),
        create_time=_time(message, "create_time"),
        neighbor_agreement=message.neighbor_agreement,
        baseline_neighbor_agreement=message.baseline_neighbor_agreement,
    )


def _classification_metrics(
    message: evaluation_pb2.ClassificationMetrics,
) -> models.ClassificationMetrics:
    names = [label.label for label in message.labels]
    return models.ClassificationMetrics(
        headline=_member(models.Averaging, "headline", message),
        accuracy=message.accuracy,
        precision=message.precision,
        recall=message.recall,
        f1=message.f1,
        log_loss=message.log_loss,
        averages=tuple(
            models.Average(
                averaging=_member(models.Averaging, "averaging", average),
                precision=average.precision,
                recall=average.recall,
                f1=average.f1,
            )
            for average in message.averages
        ),
        labels=tuple(
            models.LabelMetrics(
                label=label.label,
                precision=label.precision,
                recall=label.recall,
                f1=label.f1,
                support=label.support,
            )
            for label in message.labels
        ),
        confusion={
            (names[cell.actual], names[cell.predicted]): cell.count for cell in message.confusion
        },
    )


def usage(message: inference_service_pb2.TextUsage) -> inference.TextUsage:
    """Read how a text was read."""
    return inference.TextUsage(token_count=message.token_count, truncated=message.truncated)


def served_model(message: inference_service_pb2.ServedModel) -> inference.ServedModel:
    """Read what computed an answer."""
    precision: models.Precision = _member(models.Precision, "precision", message)
    return inference.ServedModel(model=message.model, precision=precision, digest=message.digest)


def vector(message: inference_service_pb2.EmbedResult, dimension: int) -> NDArray[np.float32]:
    """Read one vector, float32 of shape (dimension,); NaN where the text failed."""
    if message.WhichOneof("outcome") != "vector":
        return np.full(dimension, np.nan, dtype=np.float32)
    if message.vector.WhichOneof("values") == "floats":
        return np.array(message.vector.floats.values, dtype=np.float32)
    return np.frombuffer(message.vector.packed, dtype="<f4")


def classification(message: inference_service_pb2.ClassifyResult) -> inference.Classification:
    """Read the labels of one text."""
    found = message.classification
    return inference.Classification(
        predictions=tuple(_scored(label) for label in found.predictions),
        labels=tuple(_scored(label) for label in found.labels),
        usage=usage(message.usage),
        error=error_from_status(message.error) if message.HasField("error") else None,
    )


def _scored(message: inference_service_pb2.ScoredLabel) -> inference.ScoredLabel:
    return inference.ScoredLabel(label=message.label, confidence=message.confidence)


def label_mode(message: inference_service_pb2.ClassifyResponse) -> inference.LabelMode:
    """Read whether a text can have several labels."""
    return _member(inference.LabelMode, "label_mode", message)
