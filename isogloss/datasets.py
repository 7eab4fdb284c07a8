"""What the client tells of datasets: plain values without behaviour of the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from isogloss.dataset_options import DatasetOptions
from isogloss.dataset_report import DatasetReport, Finding, Split
from isogloss.errors import IsoglossError


class DatasetState(StrEnum):
    """Where a dataset is in its life. UNKNOWN: the server is newer than this client."""

    UNKNOWN = "UNKNOWN"
    UPLOADING = "UPLOADING"
    VALIDATING = "VALIDATING"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationProgress:
    """How far validation is."""

    phase: str
    fraction: float
    """Share of the whole work that is done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A set of labelled texts. It is uploaded, validated once, and never changes after that."""

    name: str
    """Full resource name, `datasets/{dataset}`. Empty where the call only checked."""

    display_name: str
    state: DatasetState
    options: DatasetOptions
    error: IsoglossError | None
    """Why it was refused; set only in FAILED."""

    uploads: Mapping[Split, int]
    """Bytes that are stored of each file while UPLOADING."""

    validation_progress: ValidationProgress | None
    report: DatasetReport | None
    """Set in READY and, as far as known, in FAILED."""

    content_hash: str
    """The same for the same files with the same options; set in READY."""

    create_time: datetime | None
    update_time: datetime | None
    validate_time: datetime | None
    expire_time: datetime | None
    """When it is deleted by itself; None: never, or the operator's default."""

    parent_dataset: str
    """The dataset that it adds rows to; empty where it stands for itself."""

    etag: str
    """Changes with every change of the dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text and what it was labelled with."""

    text: str
    labels: tuple[str, ...]
    split: Split
    line: int
    """Physical line of the uploaded file where it begins, from 1; 0 in a download."""

    row: int
    """Data row of the uploaded file, from 1, the header not counted; 0 in a download."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns carried along by `keep_columns`; only `rows` tells them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPreview:
    """The beginning of one split and all its labels."""

    split: Split
    examples: tuple[Example, ...]
    labels: Mapping[str, int]
    """Rows of each label, most frequent first."""

    row_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProgress:
    """How far an upload is: bytes first, then validation."""

    dataset: str
    """Its full resource name, for `resume` where the upload breaks off; empty in a check."""

    phase: str
    """What is being done, such as `uploading train` or `checking labels`."""

    sent_bytes: int
    """Bytes of all files that were sent; may step back where a broken stream lost some."""

    total_bytes: int
    validated: float
    """Share of the validation that is done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadProgress:
    """How far a download is."""

    received_bytes: int
    """May step back to 0 where a broken stream begins anew."""

    total_bytes: int
    """0 where the server does not know it beforehand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a dataset of these files would be; nothing was stored."""

    report: DatasetReport
    errors: tuple[Finding, ...]
    """Why they could not become a dataset, most important first; empty where they could."""

    findings: tuple[Finding, ...]
    """The first findings, at most 1000; `report.findings` counts all."""

    splits: tuple[SplitPreview, ...]
    content_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChange:
    """How often one label stands in two datasets, over all splits."""

    label: str
    base_count: int
    other_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RelabelledExample:
    """A text that has other labels than before."""

    example: Example
    """As it is in the other dataset."""

    base_labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDiff:
    """What a dataset has beside another, by text."""

    added_count: int
    removed_count: int
    relabelled_count: int
    moved_count: int
    """Texts with the same labels in another split."""

    unchanged_count: int
    labels: tuple[LabelChange, ...]
    """Every label of either, by the size of its change."""

    added: tuple[Example, ...]
    """As many as were asked for; so are the next two."""

    removed: tuple[Example, ...]
    relabelled: tuple[RelabelledExample, ...]
    same_content: bool
    """Whether both were made of the same bytes with the same options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetUsage:
    """What the caller's tenant stores and may store."""

    dataset_count: int
    upload_count: int
    """Datasets that are being uploaded."""

    stored_bytes: int
    row_count: int
    """Rows of all READY datasets."""

    max_upload_count: int
    """0: no limit."""

    max_stored_bytes: int
    """0: no limit."""
