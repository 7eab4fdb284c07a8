"""The vocabulary of the domain: what a dataset is, how it is read and what is said about it.

Knows neither the wire nor the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How rows are dealt out where no validation or test file was uploaded."""

    validation_share: float = 0.1
    """Share of the rows for validation, over 0 and up to 0.5."""

    test_share: float = 0.1
    """Share of the rows for the test, over 0 and up to 0.5."""

    seed: int = 0
    """Any 64-bit integer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOptions:
    """How the files are to be read, checked and split; None and "" mean: detect."""

    has_header: bool | None = None
    delimiter: str = ""
    profile: str = "standard"
    split: SplitOptions = field(default_factory=SplitOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one dataset may hold at most."""

    max_rows: int = 20_000_000
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one file is read, and from which of its columns."""

    delimiter: str
    has_header: bool
    text_index: int
    """Position of the text among the two columns, 0 or 1."""

    text_column: str
    """The column's name in the header, or its number from 1."""

    label_column: str
    """The column's name in the header, or its number from 1."""

    skip_bytes: int = 0
    """Bytes before the first data row: the header, and what a spreadsheet puts above it."""

    skip_lines: int = 0
    """Physical lines in `skip_bytes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """How one uploaded file was read."""

    split: Split
    size_bytes: int
    sha256: str
    delimiter: str = ""
    has_header: bool = False
    text_column: str = ""
    label_column: str = ""
    encoding: str = "utf-8"
    row_count: int = 0
    """Data rows read, malformed ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCount:
    """How often one code was found."""

    code: str
    severity: int
    count: int


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
    """The seed and the shares that were used; None where all three files were given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text and what it was labelled with."""

    text: str
    labels: tuple[str, ...]
    split: Split
    row: int
    line: int
