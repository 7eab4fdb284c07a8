"""How files are to be read, cleaned, checked and split: what a caller may declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypedDict


class FileFormat(StrEnum):
    """What a file is. Each may be compressed with gzip or zstd."""

    UNKNOWN = "unknown"
    CSV = "csv"
    """Rows of cells with a delimiter: CSV, TSV and their like."""

    JSONL = "jsonl"
    """One JSON object a line."""

    PARQUET = "parquet"


class Quoting(StrEnum):
    """How the cells of a delimited file are quoted."""

    UNKNOWN = "unknown"
    DOUBLED = "doubled"
    """A quote inside a quoted cell is doubled, as RFC 4180 has it."""

    BACKSLASH = "backslash"
    """A quote inside a quoted cell follows a backslash."""

    NONE = "none"
    """Quotes are characters like any other; every line is a row."""


class NearDuplicates(StrEnum):
    """What happens to texts that differ in little: case, blanks, punctuation, a word."""

    UNKNOWN = "unknown"
    OFF = "off"
    """They are not looked for, which is faster."""

    REPORT = "report"
    """They are listed and stay on one side of a split."""

    DROP = "drop"
    """All but the first of a group are dropped."""


class Replacement(StrEnum):
    """What becomes of what was recognised in a text."""

    UNKNOWN = "unknown"
    REMOVE = "remove"
    MASK = "mask"
    """A word takes its place: `[URL]`, `[EMAIL]` or `[USER]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What is done to every text, and again by every model trained on them; None lets it stay.

    In the order of the fields; then, always, Unicode NFC, and blanks at both ends removed.
    """

    fix_text: bool = False
    """Repair text that was decoded with the wrong encoding somewhere."""

    strip_html: bool = False
    """Keep what a reader of the page would see."""

    urls: Replacement | str | None = None
    """Web addresses."""

    emails: Replacement | str | None = None
    """Mail addresses."""

    user_names: Replacement | str | None = None
    """User names: `@somebody`."""

    remove_symbols: bool = False
    """Symbols and pictographs go; letters, digits, punctuation and currency stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOptions:
    """How files are to be read, checked and split; what is None or empty is left to the server."""

    has_header: bool | None = None
    """Whether the first row names the columns. None: detected."""

    delimiter: str = ""
    """One character, such as `,` `;` `|` or a tab. Empty: detected."""

    profile: str = ""
    """Name of a set of minimum counts that the operator configured. Empty: `standard`."""

    validation_share: float | None = None
    """Share of the rows for validation where no file is given, over 0 and up to 0.5."""

    test_share: float | None = None
    """Share of the rows for the test where no file is given, over 0 and up to 0.5."""

    seed: int | None = None
    """Seed of the split."""

    split_column: str = ""
    """Column of the training file that says `train`, `validation` or `test`. Empty: rows are
    dealt out."""

    format: FileFormat | str | None = None
    """What the files are. None: detected."""

    encoding: str = ""
    """Such as `utf-8`, `utf-16le`, `cp1252`, `shift-jis`. Empty: detected."""

    quoting: Quoting | str | None = None
    """How cells are quoted. None: detected."""

    text_column: str = ""
    """Column of the texts: its name, or its number from 1. Empty: detected in a header."""

    label_column: str = ""
    """Column of the labels: its name, or its number from 1. Empty: detected in a header."""

    keep_columns: Sequence[str] = ()
    """Further columns to carry along, by name or number, at most 50."""

    label_separator: str = ""
    """What stands between the labels of one cell, such as `|`; a text then has any number."""

    cleaning: Cleaning = field(default_factory=Cleaning)
    """What is done to the texts."""

    near_duplicates: NearDuplicates | str | None = None
    """What happens to texts that differ in little. None: `report`."""

    keep_raw: bool = False
    """Whether the files are kept as they were uploaded, to be downloaded again."""


class OptionFields(TypedDict, total=False):
    """The fields of `DatasetOptions` as the keywords of a method."""

    has_header: bool | None
    delimiter: str
    profile: str
    validation_share: float | None
    test_share: float | None
    seed: int | None
    split_column: str
    format: FileFormat | str | None
    encoding: str
    quoting: Quoting | str | None
    text_column: str
    label_column: str
    keep_columns: Sequence[str]
    label_separator: str
    cleaning: Cleaning
    near_duplicates: NearDuplicates | str | None
    keep_raw: bool
