"""Between the wire (and the manifests) and the domain. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from isogloss.storage.v1.stored_file_pb2 import StoredFile as StoredFileMessage
from isogloss.v1 import dataset_pb2, dataset_service_pb2, example_pb2, finding_pb2
from isogloss.v1.split_pb2 import SPLIT_UNSPECIFIED
from isogloss.v1.split_pb2 import Split as SplitMessage
from services.common.errors import (
    FieldViolation,
    InvalidArgument,
    IsoglossError,
    Reason,
)
from services.common.status import to_status
from services.ingest.convert.enums import SPLITS, SPLITS_BACK, STATES
from services.ingest.convert.options import options_to_proto
from services.ingest.convert.report import report_to_proto
from services.ingest.dataset import Split, State
from services.ingest.finding import Finding
from services.ingest.record import DatasetRecord, DeclaredFile, Problem, StoredFile


def split_from_proto(number: SplitMessage.ValueType, *, field: str = "split") -> Split:
    """Return the split.

    Raises:
        InvalidArgument: Where it is unspecified or unknown.
    """
    try:
        return SPLITS_BACK[number]
    except KeyError:
        raise InvalidArgument(
            FieldViolation(
                field=field,
                description="is required: SPLIT_TRAIN, SPLIT_VALIDATION or SPLIT_TEST.",
            )
        ) from None


def split_to_proto(split: Split | None) -> SplitMessage.ValueType:
    """Return the number of a split; unspecified for None."""
    return SPLIT_UNSPECIFIED if split is None else SPLITS[split]


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
        state=STATES[record.state],
        uploads=[
            dataset_pb2.Upload(split=SPLITS[split], committed_size=size)
            for split, size in (uploads or {}).items()
        ],
        content_hash=record.content_hash,
        create_time=time_to_proto(record.create_time),
        update_time=time_to_proto(record.update_time),
        parent_dataset=record.parent_name,
        etag=record.etag if record.id else "",
    )
    if record.expire_time is not None:
        message.expire_time.CopyFrom(time_to_proto(record.expire_time))
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
