"""What validation has to say: codes, their severity and their advice, and the refusal."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from services.ingest.dataset import Split

EXCERPT_LENGTH = 200
"""Characters of an offending text that a finding quotes."""


class Severity(IntEnum):
    """How much a finding matters; the numbers are those of the public contract."""

    INFO = 1
    WARNING = 2
    ROW_DROPPED = 3
    ERROR = 4


class Code(StrEnum):
    """What kind of finding. Public: a code never changes its meaning."""

    # The file as a whole.
    EMPTY_FILE = "empty_file"
    UNSUPPORTED_FORMAT = "unsupported_format"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    CORRUPT_FILE = "corrupt_file"
    DECOMPRESSED_SIZE = "decompressed_size"
    COLUMN_COUNT = "column_count"
    CHOOSE_COLUMNS = "choose_columns"
    MISSING_COLUMN = "missing_column"
    UNTERMINATED_QUOTE = "unterminated_quote"
    TOO_MANY_MALFORMED_ROWS = "too_many_malformed_rows"
    TOO_MANY_ROWS = "too_many_rows"
    TIME_LIMIT = "time_limit"
    SUSPICIOUS_HEADER = "suspicious_header"
    ENCODING_ASSUMED = "encoding_assumed"
    COLUMNS_IGNORED = "columns_ignored"
    MIXED_LINE_ENDS = "mixed_line_ends"
    BLANK_LINES = "blank_lines"
    # One row.
    WRONG_COLUMN_COUNT = "wrong_column_count"
    MALFORMED_QUOTES = "malformed_quotes"
    MALFORMED_JSON = "malformed_json"
    BAD_ENCODING = "bad_encoding"
    NUL_BYTE = "nul_byte"
    LINE_TOO_LONG = "line_too_long"
    STRAY_QUOTE = "stray_quote"
    SUSPICIOUS_QUOTE = "suspicious_quote"
    EMPTY_TEXT = "empty_text"
    EMPTY_LABEL = "empty_label"
    TEXT_TOO_LONG = "text_too_long"
    LABEL_TOO_LONG = "label_too_long"
    UNKNOWN_SPLIT = "unknown_split"
    CLEANED = "cleaned"
    MOJIBAKE = "mojibake"
    MOJIBAKE_REPAIRED = "mojibake_repaired"
    REPLACEMENT_CHARACTER = "replacement_character"
    CONTROL_CHARACTERS = "control_characters"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    NEAR_DUPLICATE_DROPPED = "near_duplicate_dropped"
    CONFLICTING_LABELS = "conflicting_labels"
    SPLIT_LEAKAGE = "split_leakage"
    NEAR_LEAKAGE = "near_leakage"
    NEAR_LEAKAGE_DROPPED = "near_leakage_dropped"
    RARE_LABEL = "rare_label"
    UNSEEN_LABEL = "unseen_label"
    TOKEN_LIMIT = "token_limit"  # noqa: S105  # a count of tokens, no secret
    # The dataset as a whole.
    LABEL_VARIANT = "label_variant"
    RARE_LABEL_REMOVED = "rare_label_removed"
    UNKNOWN_TOKENS = "unknown_tokens"
    TOO_FEW_EXAMPLES = "too_few_examples"
    FEW_EXAMPLES = "few_examples"
    TOO_FEW_LABELS = "too_few_labels"
    TOO_MANY_LABELS = "too_many_labels"
    COLUMN_ORDER = "column_order"
    IMBALANCE = "imbalance"
    EMPTY_SPLIT = "empty_split"
    ROWS_DEALT_OUT = "rows_dealt_out"
    NOTHING_SET_ASIDE = "nothing_set_aside"


_INFO = frozenset(
    {
        Code.MIXED_LINE_ENDS,
        Code.BLANK_LINES,
        Code.CLEANED,
        Code.MOJIBAKE_REPAIRED,
        Code.COLUMNS_IGNORED,
        Code.ROWS_DEALT_OUT,
    }
)
_WARNING = frozenset(
    {
        Code.STRAY_QUOTE,
        Code.SUSPICIOUS_QUOTE,
        Code.SUSPICIOUS_HEADER,
        Code.ENCODING_ASSUMED,
        Code.MOJIBAKE,
        Code.REPLACEMENT_CHARACTER,
        Code.CONTROL_CHARACTERS,
        Code.NEAR_DUPLICATE,
        Code.NEAR_LEAKAGE,
        Code.TOKEN_LIMIT,
        Code.LABEL_VARIANT,
        Code.RARE_LABEL_REMOVED,
        Code.UNKNOWN_TOKENS,
        Code.FEW_EXAMPLES,
        Code.IMBALANCE,
        Code.NOTHING_SET_ASIDE,
    }
)
_ROW_DROPPED = frozenset(
    {
        Code.WRONG_COLUMN_COUNT,
        Code.MALFORMED_QUOTES,
        Code.MALFORMED_JSON,
        Code.BAD_ENCODING,
        Code.NUL_BYTE,
        Code.LINE_TOO_LONG,
        Code.EMPTY_TEXT,
        Code.EMPTY_LABEL,
        Code.TEXT_TOO_LONG,
        Code.LABEL_TOO_LONG,
        Code.UNKNOWN_SPLIT,
        Code.DUPLICATE,
        Code.NEAR_DUPLICATE_DROPPED,
        Code.CONFLICTING_LABELS,
        Code.SPLIT_LEAKAGE,
        Code.NEAR_LEAKAGE_DROPPED,
        Code.RARE_LABEL,
        Code.UNSEEN_LABEL,
    }
)


def severity_of(code: Code) -> Severity:
    """Return how much `code` matters; what is neither note nor warning nor row refuses."""
    if code in _INFO:
        return Severity.INFO
    if code in _WARNING:
        return Severity.WARNING
    return Severity.ROW_DROPPED if code in _ROW_DROPPED else Severity.ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that validation saw."""

    code: Code
    message: str
    split: Split | None = None
    """None for the dataset as a whole."""

    line: int = 0
    """Physical line of the uploaded file, from 1; 0 where none applies."""

    row: int = 0
    """Data row, from 1, the header not counted; 0 where none applies."""

    column: str = ""
    """`text`, `label`, or empty for the whole row."""

    excerpt: str = ""
    fix: str = ""
    count: int = 0
    """Rows it speaks of: 1 for a row, more for a summary, 0 where none applies."""

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return severity_of(self.code)


class Refused(Exception):
    """The files cannot become a dataset; the findings say why and what to do.

    A verdict about data, no fault.
    """

    def __init__(self, *findings: Finding) -> None:
        """Keep every reason.

        Args:
            findings: At least one, each of severity ERROR.
        """
        super().__init__(findings[0].message)
        self.findings = findings

    def of(self, split: Split) -> Refused:
        """Return the same refusal with each finding placed in `split`."""
        return Refused(*(replace(finding, split=split) for finding in self.findings))


_INVISIBLE = dict.fromkeys(range(32), "�") | {
    9: " ",
    10: " ",
    127: "\N{REPLACEMENT CHARACTER}",
}


def excerpt(raw: bytes | str) -> str:
    """Return the beginning of `raw`, safe to print on one line."""
    if isinstance(raw, bytes):
        # A character has at most four bytes.
        raw = raw[: EXCERPT_LENGTH * 4].decode("utf-8", "replace")
    return raw[:EXCERPT_LENGTH].translate(_INVISIBLE)


class FindingWriter:
    """Appends findings to a scratch file, so that a million of them need no memory."""

    def __init__(self, path: Path) -> None:
        """Create the file.

        Args:
            path: A CSV file without a header: split, line, row, column, code, severity,
                message, excerpt, fix, count.
        """
        self.path = path
        self._file = path.open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file, quoting=csv.QUOTE_ALL, lineterminator="\n")

    def __enter__(self) -> Self:
        """Return the open writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def add(self, finding: Finding) -> None:
        """Append one finding."""
        self._rows.writerow(
            (
                finding.split or "",
                finding.line,
                finding.row,
                finding.column,
                finding.code,
                int(finding.severity),
                finding.message,
                finding.excerpt,
                finding.fix,
                finding.count,
            )
        )

    def mark(self) -> int:
        """Return a place in the file to which `rewind` can go back."""
        self._file.flush()
        return self._file.tell()

    def rewind(self, mark: int) -> None:
        """Withdraw everything that was appended since `mark`."""
        self._file.flush()
        self._file.seek(mark)
        self._file.truncate()

    def extend(self, findings: Iterable[Finding]) -> None:
        """Append several findings."""
        for finding in findings:
            self.add(finding)

    def flush(self) -> None:
        """Make what was appended visible to a reader of the file."""
        self._file.flush()
