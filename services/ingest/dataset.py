"""The vocabulary of the domain: what a dataset is, how it is read and what is said about it.

Knows neither the wire nor the database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from services.common.cleaning import Cleaning


class Split(StrEnum):
    """Part of a dataset; the members stand in the order in which they are shown."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


HELD_OUT = (Split.VALIDATION, Split.TEST)
"""The splits that models are scored on and never learn from."""


class State(StrEnum):
    """Where a dataset is in its life."""

    UPLOADING = "UPLOADING"
    VALIDATING = "VALIDATING"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How much is enough: a named set of minimum counts."""

    min_examples: int
    """Fewer training examples than this refuse the dataset."""

    advised_examples: int
    """Fewer training examples than this are warned about."""

    min_per_label: int
    """A label with fewer unique training examples than this is removed."""


class Format(StrEnum):
    """What a file is."""

    DETECT = ""
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Quoting(StrEnum):
    """How the cells of a delimited file are quoted."""

    DETECT = ""
    DOUBLED = "doubled"
    """A quote inside a quoted cell is doubled, as RFC 4180 has it."""

    BACKSLASH = "backslash"
    """A quote inside a quoted cell follows a backslash."""

    NONE = "none"
    """Quotes are characters like any other; every line is a row."""


class NearDuplicates(StrEnum):
    """What happens to texts that differ in little."""

    OFF = "off"
    REPORT = "report"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How rows are dealt out where no validation or test file was uploaded."""

    validation_share: float = 0.1
    """Share of the rows for validation, over 0 and up to 0.5."""

    test_share: float = 0.1
    """Share of the rows for the test, over 0 and up to 0.5."""

    seed: int = 0
    """Any 64-bit integer."""

    column: str = ""
    """Column of the training file that says where each row belongs; "" deals rows out."""

    def but_for(self, given: Collection[Split]) -> SplitOptions:
        """Return the same with a share of 0 for splits that are not dealt out."""
        return replace(
            self,
            validation_share=0.0 if Split.VALIDATION in given else self.validation_share,
            test_share=0.0 if Split.TEST in given else self.test_share,
        )

    @property
    def given(self) -> frozenset[Split]:
        """The splits that are not dealt out, as `but_for` told."""
        shares = {Split.VALIDATION: self.validation_share, Split.TEST: self.test_share}
        return frozenset({Split.TRAIN, *(split for split, share in shares.items() if not share)})


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOptions:
    """How the files are to be read, checked and split; None and "" mean: detect."""

    has_header: bool | None = None
    delimiter: str = ""
    profile: str = "standard"
    split: SplitOptions = field(default_factory=SplitOptions)
    format: Format = Format.DETECT
    encoding: str = ""
    quoting: Quoting = Quoting.DETECT
    text_column: str = ""
    """Name in the header, or number from 1."""

    label_column: str = ""
    """Name in the header, or number from 1."""

    keep_columns: tuple[str, ...] = ()
    """Names in the header, or numbers from 1, of columns to carry along."""

    label_separator: str = ""
    """What stands between the labels of one cell; "" where a cell is one label."""

    cleaning: Cleaning = field(default_factory=Cleaning)
    near_duplicates: NearDuplicates = NearDuplicates.REPORT
    keep_raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one dataset may hold at most."""

    max_rows: int = 50_000_000
    """Data rows of one file."""

    max_labels: int = 1_000
    """Distinct labels of the training rows."""

    max_label_length: int = 128
    """Characters of one label."""

    max_text_bytes: int = 1 << 20
    """UTF-8 bytes of one text."""

    max_record_bytes: int = 2 << 20
    """Bytes of one record of the file; what is held in memory while its end is looked for."""

    max_malformed_share: float = 0.1
    """Share of malformed rows above which a file is refused instead of thinned out."""

    max_tokens: int = 512
    """Tokens above which a text is warned about: what the base `small` reads."""

    max_columns: int = 256
    """Columns of a file, those that are left out included."""

    max_decompressed_bytes: int = 20 << 30
    """Bytes of one file after decompression."""

    max_seconds: float = 3600.0
    """Time of one validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedFile:
    """One file as it came, readable any number of times."""

    size_bytes: int
    chunks: Callable[[], Iterable[bytes]]
    """Gives its bytes from the beginning, in pieces of any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one file was found to be written, and from which columns it was read."""

    format: Format = Format.CSV
    compression: str = ""
    """`gzip`, `zstd`, or ""."""

    encoding: str = "utf-8"
    delimiter: str = ""
    quoting: Quoting = Quoting.DOUBLED
    has_header: bool = False
    columns: tuple[str, ...] = ()
    """Every column: its name in the header, or its number from 1."""

    text_column: str = ""
    label_column: str = ""
    split_column: str = ""
    kept_columns: tuple[str, ...] = ()
    ignored_columns: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    """Names of the fields above that were detected rather than declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLayout:
    """What DuckDB has to know of a file of canonical records.

    Canonical is: UTF-8, LF line ends, no header, RFC 4180 quoting with `"`, and the same number of
    columns in every record.
    """

    delimiter: str = ","
    columns: int = 2
    text: int = 0
    """Position of the texts, from 0."""

    labels: int = 1
    """Position of the labels, from 0."""

    label_separator: str = ""
    """What stands between the labels of one cell; "" where a cell is one label, as typed."""

    split: int | None = None
    """Position of the column that says where a row belongs."""

    kept: tuple[tuple[str, int], ...] = ()
    """Name and position of each column that is carried along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """A run of canonical records of one uploaded file, for DuckDB."""

    split: Split
    layout: RecordLayout
    count: int
    path: Path
    positions: Path
    """CSV lines `n,rows,lines`: before the record `n` (from 0) so many data rows and physical lines
    of the uploaded file were passed over, or stand in runs before. A record's data row is `n` and
    all `rows` up to it, its physical line is `n` and all `lines` up to it; both count from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What reading found of one file."""

    split: Split
    size_bytes: int
    """As uploaded."""

    sha256: str
    """As uploaded."""

    dialect: Dialect
    rows_read: int
    """Data rows, malformed ones included."""

    rows_kept: int
    """Canonical records that were written; each of the others has a finding that drops it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """How one uploaded file was read."""

    split: Split
    size_bytes: int
    sha256: str
    dialect: Dialect = field(default_factory=Dialect)
    row_count: int = 0
    """Data rows that could be read as rows of these columns."""

    malformed_count: int = 0
    """Data rows that could not: each has a finding that drops it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCount:
    """How often one code was found."""

    code: str
    severity: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStatistics:
    """Lengths of texts in tokens of the base `small`, special tokens included."""

    p50: int = 0
    p95: int = 0
    max: int = 0
    histogram: tuple[tuple[int, int], ...] = ()
    """Most tokens of each bin and its texts, scaled to all texts; shortest first."""

    counted_texts: int = 0
    sampled: bool = False
    truncated_share: float = 0.0
    """Exact: every text that could be too long is counted."""

    unknown_share: float = 0.0
    """Share of the counted tokens that the base does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Texts that two splits have in common, before any was dropped for it."""

    first: Split
    second: Split
    exact: int = 0
    near: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was assumed about the files and what they hold."""

    files: tuple[FileReport, ...] = ()
    splits: Mapping[Split, int] = field(default_factory=dict)
    """Rows that are left in each split."""

    label_count: int = 0
    removed_labels: tuple[str, ...] = ()
    """Labels with too few unique examples, at most 100 of them."""

    imbalance: float = 0.0
    """Rows of the most frequent label over rows of the rarest, in training."""

    over_long_texts: int = 0
    findings: tuple[FindingCount, ...] = ()
    warnings: tuple[str, ...] = ()
    dealt: SplitOptions | None = None
    """The seed and the shares that were used, `but_for` the splits that were given; None where all
    three were."""

    readable: bool = False
    """Whether the files are labelled texts, be they enough or not."""

    trainable: bool = False
    """Whether a model can be trained on them."""

    multi_label: bool = False
    tokens: TokenStatistics | None = None
    languages: tuple[tuple[str, float], ...] = ()
    """ISO 639-1 code and share of the texts, most frequent first, at most 5."""

    overlaps: tuple[Overlap, ...] = ()
    training_time: timedelta | None = None
    advice: tuple[str, ...] = ()
    dropped_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text and what it was labelled with."""

    text: str
    labels: tuple[str, ...]
    split: Split
    row: int
    line: int
