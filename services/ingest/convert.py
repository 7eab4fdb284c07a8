"""Between the wire (and the manifests) and the domain. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from isogloss.storage.v1.stored_file_pb2 import StoredFile as StoredFileMessage
from isogloss.v1 import dataset_pb2, dataset_service_pb2, example_pb2, finding_pb2
from isogloss.v1.split_pb2 import (
    SPLIT_TEST,
    SPLIT_TRAIN,
    SPLIT_UNSPECIFIED,
    SPLIT_VALIDATION,
)
from isogloss.v1.split_pb2 import Split as SplitMessage
from services.common.errors import (
    FieldViolation,
    InvalidArgument,
    IsoglossError,
    Reason,
)
from services.common.status import to_status
from services.ingest.dataset import (
    DatasetOptions,
    Dialect,
    Example,
    FileReport,
    FindingCount,
    Report,
    Split,
    SplitOptions,
    State,
)
from services.ingest.finding import Finding
from services.ingest.preview import SplitPreview
from services.ingest.record import DatasetRecord, DeclaredFile, Problem, StoredFile

_SPLITS: dict[Split, SplitMessage.ValueType] = {
    Split.TRAIN: SPLIT_TRAIN,
    Split.VALIDATION: SPLIT_VALIDATION,
    Split.TEST: SPLIT_TEST,
}
_SPLITS_BACK = {number: split for split, number in _SPLITS.items()}
_STATES = {
    State.UPLOADING: dataset_pb2.Dataset.STATE_UPLOADING,
    State.VALIDATING: dataset_pb2.Dataset.STATE_VALIDATING,
    State.READY: dataset_pb2.Dataset.STATE_READY,
    State.FAILED: dataset_pb2.Dataset.STATE_FAILED,
}


def split_from_proto(number: SplitMessage.ValueType, *, field: str = "split") -> Split:
    """Return the split.

    Raises:
        InvalidArgument: Where it is unspecified or unknown.
    """
    try:
        return _SPLITS_BACK[number]
    except KeyError:
        raise InvalidArgument(
            FieldViolation(
                field=field,
                description="is required: SPLIT_TRAIN, SPLIT_VALIDATION or SPLIT_TEST.",
            )
        ) from None


def split_to_proto(split: Split | None) -> SplitMessage.ValueType:
    """Return the number of a split; unspecified for None."""
    return SPLIT_UNSPECIFIED if split is None else _SPLITS[split]


def options_from_proto(message: dataset_pb2.DatasetOptions) -> DatasetOptions:
    """Fill in the defaults that the contract names."""
    split, default = message.split, SplitOptions()
    return DatasetOptions(
        has_header=message.has_header if message.HasField("has_header") else None,
        delimiter=message.delimiter,
        profile=message.profile or DatasetOptions().profile,
        split=SplitOptions(
            validation_share=split.validation_share
            if split.HasField("validation_share")
            else default.validation_share,
            test_share=split.test_share if split.HasField("test_share") else default.test_share,
            seed=split.seed if split.HasField("seed") else default.seed,
        ),
    )


def options_to_proto(options: DatasetOptions) -> dataset_pb2.DatasetOptions:
    """Return the options, defaults included."""
    return dataset_pb2.DatasetOptions(
        has_header=options.has_header,
        delimiter=options.delimiter,
        profile=options.profile,
        split=_split_options(options.split),
    )


def declared_from_proto(
    checksums: Iterable[dataset_service_pb2.UploadChecksum],
) -> dict[Split, DeclaredFile]:
    """Return what the caller believes to have uploaded.

    Raises:
        InvalidArgument: Where a split is missing, named twice, a size is negative, or a sum is
            malformed.
    """
    declared: dict[Split, DeclaredFile] = {}
    for position, checksum in enumerate(checksums):
        path = f"checksums[{position}]"
        split = split_from_proto(checksum.split, field=f"{path}.split")
        sha256 = checksum.sha256.lower()
        if split in declared:
            raise InvalidArgument(
                FieldViolation(field=f"{path}.split", description=f"names {split} twice.")
            )
        if checksum.size_bytes < 0:
            raise InvalidArgument(
                FieldViolation(
                    field=f"{path}.size_bytes",
                    description=f"{checksum.size_bytes} is no size: send the file's bytes, 0 or "
                    "more.",
                )
            )
        if sha256 and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):  # noqa: PLR2004
            raise InvalidArgument(
                FieldViolation(field=f"{path}.sha256", description="takes 64 hexadecimal digits.")
            )
        declared[split] = DeclaredFile(size_bytes=checksum.size_bytes, sha256=sha256)
    return declared


def dataset_to_proto(
    record: DatasetRecord, uploads: Mapping[Split, int] | None = None
) -> dataset_pb2.Dataset:
    """Return a dataset as callers see it.

    Args:
        record: What the service remembers.
        uploads: Committed size of each file, while it is uploaded to.
    """
    message = dataset_pb2.Dataset(
        name=record.name if record.id else "",
        display_name=record.display_name,
        options=options_to_proto(record.options),
        state=_STATES[record.state],
        uploads=[
            dataset_pb2.Upload(split=_SPLITS[split], committed_size=size)
            for split, size in (uploads or {}).items()
        ],
        content_hash=record.content_hash,
        create_time=time_to_proto(record.create_time),
        update_time=time_to_proto(record.update_time),
    )
    if record.validate_time is not None:
        message.validate_time.CopyFrom(time_to_proto(record.validate_time))
    if record.report is not None:
        message.report.CopyFrom(report_to_proto(record.report))
    if record.state is State.VALIDATING:
        message.validation_progress.phase = record.phase
        message.validation_progress.fraction = record.fraction
    if record.state is State.FAILED:
        message.error.CopyFrom(to_status(_error(record.problems)))
    return message


def _error(problems: tuple[Problem, ...]) -> IsoglossError:
    if any(problem.code == "internal" for problem in problems):
        return IsoglossError(problems[0].message)
    return InvalidArgument(
        [
            FieldViolation(
                field=problem.where, description=problem.message, reason=Reason.DATASET_REFUSED
            )
            for problem in problems
        ]
    )


def report_to_proto(report: Report) -> dataset_pb2.DatasetReport:
    """Return what a dataset holds."""
    return dataset_pb2.DatasetReport(
        files=[
            dataset_pb2.FileReport(
                split=_SPLITS[file.split],
                size_bytes=file.size_bytes,
                sha256=file.sha256,
                delimiter=file.dialect.delimiter,
                has_header=file.dialect.has_header,
                text_column=file.dialect.text_column,
                label_column=file.dialect.label_column,
                encoding=file.dialect.encoding,
                row_count=file.row_count,
            )
            for file in report.files
        ],
        splits=[
            dataset_pb2.SplitSize(split=_SPLITS[split], row_count=count)
            for split, count in report.splits.items()
        ],
        label_count=report.label_count,
        removed_labels=report.removed_labels,
        imbalance=report.imbalance,
        over_long_texts=report.over_long_texts,
        findings=[count_to_proto(count) for count in report.findings],
        warnings=report.warnings,
        split=_split_options(report.dealt) if report.dealt else None,
    )


def report_from_proto(message: dataset_pb2.DatasetReport) -> Report:
    """Read the report of a manifest."""
    return Report(
        files=tuple(
            FileReport(
                split=_SPLITS_BACK[file.split],
                size_bytes=file.size_bytes,
                sha256=file.sha256,
                dialect=Dialect(
                    delimiter=file.delimiter,
                    has_header=file.has_header,
                    text_column=file.text_column,
                    label_column=file.label_column,
                    encoding=file.encoding,
                ),
                row_count=file.row_count,
            )
            for file in message.files
        ),
        splits={_SPLITS_BACK[size.split]: size.row_count for size in message.splits},
        label_count=message.label_count,
        removed_labels=tuple(message.removed_labels),
        imbalance=message.imbalance,
        over_long_texts=message.over_long_texts,
        findings=tuple(
            FindingCount(code=found.code, severity=found.severity, count=found.count)
            for found in message.findings
        ),
        warnings=tuple(message.warnings),
        dealt=SplitOptions(
            validation_share=message.split.validation_share,
            test_share=message.split.test_share,
            seed=message.split.seed,
        )
        if message.HasField("split")
        else None,
    )


def finding_to_proto(finding: Finding) -> finding_pb2.Finding:
    """Return one finding."""
    return finding_pb2.Finding(
        split=split_to_proto(finding.split),
        line=finding.line,
        row=finding.row,
        column=finding.column,
        code=finding.code,
        severity=finding_pb2.Finding.Severity.ValueType(int(finding.severity)),
        message=finding.message,
        excerpt=finding.excerpt,
        fix=finding.fix,
        count=finding.count,
    )


def count_to_proto(count: FindingCount) -> finding_pb2.FindingCount:
    """Return how often a code was found."""
    return finding_pb2.FindingCount(
        code=count.code,
        severity=finding_pb2.Finding.Severity.ValueType(count.severity),
        count=count.count,
    )


def preview_to_proto(preview: SplitPreview) -> dataset_service_pb2.SplitPreview:
    """Return the beginning of one split."""
    return dataset_service_pb2.SplitPreview(
        split=_SPLITS[preview.split],
        examples=[_example(example) for example in preview.examples],
        labels=labels_to_proto(preview.labels),
        row_count=preview.row_count,
    )


def labels_to_proto(labels: Iterable[tuple[str, int]]) -> list[example_pb2.LabelCount]:
    """Return how often each label stands."""
    return [example_pb2.LabelCount(label=label, count=count) for label, count in labels]


def file_to_proto(file: StoredFile) -> StoredFileMessage:
    """Return a stored file."""
    return StoredFileMessage(key=file.key, size=file.size, sha256=file.sha256)


def file_from_proto(message: StoredFileMessage) -> StoredFile:
    """Return a stored file."""
    return StoredFile(key=message.key, size=message.size, sha256=message.sha256)


def time_to_proto(time: datetime) -> Timestamp:
    """Return a point in time."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _example(example: Example) -> example_pb2.Example:
    return example_pb2.Example(
        text=example.text,
        labels=example.labels,
        split=_SPLITS[example.split],
        line=example.line,
        row=example.row,
    )


def _split_options(options: SplitOptions) -> dataset_pb2.SplitOptions:
    return dataset_pb2.SplitOptions(
        validation_share=options.validation_share,
        test_share=options.test_share,
        seed=options.seed,
    )
