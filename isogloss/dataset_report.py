"""What validation tells of a dataset: how it was read, what it holds, what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from isogloss.dataset_options import FileFormat, Quoting


class Split(StrEnum):
    """Part of a dataset."""

    UNKNOWN = "unknown"
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class LabelMode(StrEnum):
    """How many labels a text can have."""

    UNKNOWN = "UNKNOWN"
    SINGLE = "SINGLE"
    MULTI = "MULTI"


class Severity(StrEnum):
    """How much a finding matters, least first."""

    UNKNOWN = "UNKNOWN"
    INFO = "INFO"
    WARNING = "WARNING"
    ROW_DROPPED = "ROW_DROPPED"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that validation saw: a row it dropped or changed, or something worth knowing."""

    split: Split
    line: int
    """Physical line of the uploaded file, from 1; 0 where none applies."""

    row: int
    """Data row of the uploaded file, from 1, the header not counted; 0 where none applies."""

    column: str
    code: str
    severity: Severity
    message: str
    excerpt: str
    fix: str
    count: int


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
    format: FileFormat
    compression: str
    """`gzip`, `zstd`, or empty."""

    encoding: str
    delimiter: str
    """Empty where none applies."""

    quoting: Quoting
    """UNKNOWN where cells are not quoted."""

    has_header: bool
    text_column: str
    label_column: str
    kept_columns: tuple[str, ...]
    ignored_columns: tuple[str, ...]
    assumed: tuple[str, ...]
    """Names of the fields above that were detected rather than declared."""

    row_count: int
    """Data rows that could be read as rows of these columns."""

    malformed_count: int
    """Data rows that could not: each has a finding that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRule:
    """How rows were dealt out; a share is 0 where a file or a column said which rows it has."""

    validation_share: float | None
    test_share: float | None
    seed: int
    column: str
    """Column that said where each row belongs; empty where none did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBin:
    """Texts whose number of tokens is in one range."""

    max_tokens: int
    """Most tokens of the range; the least is one more than in the bin before."""

    text_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStatistics:
    """Lengths of the texts in tokens of the base `small`."""

    p50: int
    p95: int
    max: int
    histogram: tuple[TokenBin, ...]
    """Scaled to all texts, shortest first."""

    counted_texts: int
    sampled: bool
    """Whether `counted_texts` is a seeded sample of all texts."""

    truncated_share: float
    """Share of all texts that are over 512 tokens, exact; 0 to 1."""

    unknown_share: float
    """Share of the tokens that the base does not know, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOverlap:
    """Texts that stand in two splits, before training rows were dropped for it."""

    first: Split
    second: Split
    exact: int
    near: int
    """0 where near duplicates were not looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetReport:
    """What was assumed about the files and what they hold."""

    readable: bool
    """Whether the files could be read as labelled texts."""

    trainable: bool
    """Whether a model can be trained on them: enough rows and labels, and a row to score it on."""

    files: tuple[FileReport, ...]
    rows: Mapping[Split, int]
    """Rows that are left in each split."""

    dropped_rows: int
    """Rows read that are not left, whatever the reason."""

    label_mode: LabelMode
    label_count: int
    removed_labels: tuple[str, ...]
    """Labels that were removed because they had too few unique examples, at most 100."""

    imbalance: float
    """Rows of the most frequent label over rows of the rarest, in training."""

    over_long_texts: int
    """Texts that are longer than 512 tokens; training sees their beginning only."""

    tokens: TokenStatistics | None
    languages: Mapping[str, float]
    """ISO 639-1 codes and their share of the texts, most frequent first, at most 5: a guess."""

    overlaps: tuple[SplitOverlap, ...]
    split: SplitRule | None
    """How rows were dealt out; None where files said it."""

    training_time: timedelta | None
    """About how long training takes by default on 2 CPU cores with the base `small`."""

    findings: tuple[FindingCount, ...]
    warnings: tuple[str, ...]
    """What to mind, most important first."""

    advice: tuple[str, ...]
    """What would make the dataset better, most useful first."""
