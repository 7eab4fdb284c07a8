"""What the client tells of datasets: plain values without behaviour of the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from isogloss.errors import IsoglossError


class Split(StrEnum):
    """Part of a dataset."""

    UNKNOWN = "unknown"
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class DatasetState(StrEnum):
    """Where a dataset is in its life. UNKNOWN: the server is newer than this client."""

    UNKNOWN = "UNKNOWN"
    UPLOADING = "UPLOADING"
    VALIDATING = "VALIDATING"
    READY = "READY"
    FAILED = "FAILED"


class Severity(StrEnum):
    """How much a finding matters, least first."""

    UNKNOWN = "UNKNOWN"
    INFO = "INFO"
    WARNING = "WARNING"
    ROW_DROPPED = "ROW_DROPPED"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOptions:
    """How files are to be read, checked and split; what is None or empty is left to the server."""

    has_header: bool | None = None
    """Whether the first row names the columns. None: detected."""

    delimiter: str = ""
    """One of `,` `;` `|` or a tab. Empty: detected."""

    profile: str = ""
    """Name of a set of minimum counts that the operator configured. Empty: `standard`."""

    validation_share: float | None = None
    """Share of the rows for validation where no file is given, over 0 and up to 0.5."""

    test_share: float | None = None
    """Share of the rows for the test where no file is given, over 0 and up to 0.5."""

    seed: int | None = None
    """Seed of the split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCount:
    """How often one code was found."""

    code: str
    severity: Severity
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """How one uploaded file was read."""

    split: Split
    size_bytes: int
    sha256: str
    delimiter: str
    has_header: bool
    text_column: str
    label_column: str
    encoding: str
    row_count: int
    """Data rows read, malformed ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetReport:
    """What was assumed about the files and what they hold."""

    files: tuple[FileReport, ...]
    rows: Mapping[Split, int]
    """Rows that are left in each split."""

    label_count: int
    removed_labels: tuple[str, ...]
    """Labels that were removed because they had too few unique examples, at most 100."""

    imbalance: float
    """Rows of the most frequent label over rows of the rarest, in training."""

    over_long_texts: int
    """Texts that are longer than 512 tokens; training sees their beginning only."""

    findings: tuple[FindingCount, ...]
    warnings: tuple[str, ...]
    """What to mind, most important first."""


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
    create_time: datetime | None
    update_time: datetime | None
    validate_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text and what it was labelled with."""

    text: str
    labels: tuple[str, ...]
    split: Split
    line: int
    """Physical line of the uploaded file where it begins, from 1."""

    row: int
    """Data row of the uploaded file, from 1, the header not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPreview:
    """The beginning of one split and all its labels."""

    split: Split
    examples: tuple[Example, ...]
    labels: Mapping[str, int]
    """Rows of each label, most frequent first."""

    row_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that validation saw: a row it dropped or changed, or something worth knowing."""

    split: Split
    line: int
    """Physical line of the uploaded file, from 1; 0 where none applies."""

    row: int
    column: str
    code: str
    severity: Severity
    message: str
    excerpt: str
    fix: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProgress:
    """How far an upload is: bytes first, then validation."""

    dataset: str
    """Its full resource name, for `resume` where the upload breaks off."""

    phase: str
    """What is being done, such as `uploading train` or `checking labels`."""

    sent_bytes: int
    """Bytes of all files that were sent; may step back where a broken stream lost some."""

    total_bytes: int
    validated: float
    """Share of the validation that is done, 0 to 1."""
