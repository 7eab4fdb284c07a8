"""A dataset as the service remembers it, and its form in JSON columns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from services.ingest.dataset import DatasetOptions, Report, Split, State

_OPTIONS = TypeAdapter(DatasetOptions)
_REPORT = TypeAdapter(Report)

_ETAG_LENGTH = 16
"""Hexadecimal digits: 64 bits tell the few states of one dataset apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file in the object store."""

    key: str
    size: int
    """Bytes."""

    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSplit:
    """The published rows of one split."""

    split: Split
    file: StoredFile
    row_count: int
    labels: tuple[tuple[str, int], ...]
    """Each label and its rows, most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """One uploaded file as it came."""

    split: Split
    parts: tuple[StoredFile, ...]
    """They lie end to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file in a bucket of others, as it was when its import was asked for."""

    bucket: str
    key: str
    size: int
    """Bytes."""

    etag: str

    @property
    def uri(self) -> str:
        """As callers write it."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredFile:
    """What an upload was declared to be."""

    size_bytes: int
    sha256: str = ""
    """Empty where only the size is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a dataset failed."""

    code: str
    """A finding's code, or `internal` where the service is at fault."""

    where: str
    """`train`, `validation`, `test`, or `dataset`."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """A dataset as the service remembers it."""

    tenant: str
    id: str
    display_name: str
    options: DatasetOptions
    state: State
    create_time: datetime
    update_time: datetime
    validate_time: datetime | None = None
    declared: Mapping[Split, DeclaredFile] = field(default_factory=dict)
    """Set when the upload was finalised: sizes of all files, sums where they are known."""

    phase: str = ""
    fraction: float = 0.0
    report: Report | None = None
    problems: tuple[Problem, ...] = ()
    content_hash: str = ""
    findings: StoredFile | None = None
    splits: tuple[StoredSplit, ...] = ()
    raw: tuple[RawFile, ...] = ()
    """The files as they were uploaded, where they are kept."""

    expire_time: datetime | None = None
    parent: str = ""
    """Id of the dataset whose rows it begins with; may be empty."""

    sources: Mapping[Split, SourceFile] = field(default_factory=dict)
    """What its files are copied from, where it is imported."""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"datasets/{self.id}"

    @property
    def parent_name(self) -> str:
        """Full resource name of the parent; may be empty."""
        return f"datasets/{self.parent}" if self.parent else ""

    @property
    def etag(self) -> str:
        """Differs after each change that callers can make or wait for."""
        seen = (self.id, self.state, self.update_time, self.display_name, self.expire_time)
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:_ETAG_LENGTH]


def to_json(value: Any) -> Any:  # noqa: ANN401  # any of the dataclasses above, or a collection
    """Return dataclasses as what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    plain: Any = TypeAdapter(type(value)).dump_python(value, mode="json")
    return plain


def options_from_json(value: Mapping[str, Any]) -> DatasetOptions:
    """Read what `to_json` wrote."""
    return _OPTIONS.validate_python(value)


def declared_from_json(value: Mapping[str, Any]) -> dict[Split, DeclaredFile]:
    """Read what `to_json` wrote."""
    return {Split(split): DeclaredFile(**file) for split, file in value.items()}


def report_from_json(value: Mapping[str, Any] | None) -> Report | None:
    """Read what `to_json` wrote."""
    return None if value is None else _REPORT.validate_python(value)


def problems_from_json(value: Sequence[Mapping[str, Any]] | None) -> tuple[Problem, ...]:
    """Read what `to_json` wrote."""
    return tuple(Problem(**problem) for problem in value or ())


def file_from_json(value: Mapping[str, Any] | None) -> StoredFile | None:
    """Read what `to_json` wrote."""
    return StoredFile(**value) if value else None


def splits_from_json(value: Sequence[Mapping[str, Any]] | None) -> tuple[StoredSplit, ...]:
    """Read what `to_json` wrote."""
    return tuple(
        StoredSplit(
            split=Split(item["split"]),
            file=StoredFile(**item["file"]),
            row_count=item["row_count"],
            labels=tuple((label, count) for label, count in item["labels"]),
        )
        for item in value or ()
    )


def sources_from_json(value: Mapping[str, Any] | None) -> dict[Split, SourceFile]:
    """Read what `to_json` wrote."""
    return {Split(split): SourceFile(**file) for split, file in (value or {}).items()}


def raw_from_json(value: Sequence[Mapping[str, Any]] | None) -> tuple[RawFile, ...]:
    """Read what `to_json` wrote."""
    return tuple(
        RawFile(
            split=Split(item["split"]), parts=tuple(StoredFile(**part) for part in item["parts"])
        )
        for item in value or ()
    )
