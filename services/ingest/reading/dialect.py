"""Finds out how a file is delimited and quoted, from its beginning.

What the caller declares is never questioned; all that is assumed instead is reported. Which
column is what is the business of `columns`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.ingest.dataset import DatasetOptions, Quoting
from services.ingest.finding import Code, Finding, Refused, excerpt
from services.ingest.reading.records import Grammar
from services.ingest.reading.text import MOST_BLANK

_DELIMITERS = ("\t", ",", ";", "|")
"""What is looked for. Where two do equally well, the one that texts hold less often comes first,
but for the comma, which is the most usual."""

_SAMPLE_RECORDS = 1000
"""Records of the beginning that decide; more would not change the verdict."""

_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_SEP_LINE = re.compile(rb"""["']?sep=(.)["']?\n""")
"""Excel's own first line that names the delimiter."""

_ALMOST_ALL = 0.98
"""Share of the lines that must agree before quotes are taken for characters like any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """The beginning of a file, read in one way."""

    delimiter: str
    quoting: Quoting
    rows: Sequence[tuple[bytes, ...]]
    spans: Sequence[tuple[int, int]]
    """Position of each row, and after it."""

    broken_line: int
    """Line of the first record whose quotes are wrong; 0 where there is none."""

    @property
    def columns(self) -> int:
        """The most frequent number of columns."""
        return Counter(map(len, self.rows)).most_common(1)[0][0] if self.rows else 0

    @property
    def share(self) -> float:
        """Share of the rows that have that number, where it is more than one."""
        columns = self.columns
        return sum(len(row) == columns for row in self.rows) / len(self.rows) if columns > 1 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How a file is written, and its first rows."""

    delimiter: str
    quoting: Quoting
    columns: int
    """How many most rows have."""

    rows: Sequence[tuple[str, ...]]
    """The first rows, the header among them, each with as many cells as it has."""

    is_whole: bool
    """Whether the file has no other rows."""

    begin: int
    """Position in the sample after what names the delimiter, if anything does."""

    spans: Sequence[tuple[int, int]]
    """Position of each of the rows in the sample, and after it."""

    assumed: frozenset[str]
    """What was detected: fields of `Dialect`."""


def detect_table(sample: bytes, options: DatasetOptions, *, is_whole: bool) -> Table:
    """Find out how a file is delimited and quoted.

    Args:
        sample: Its beginning, UTF-8, line ends LF.
        options: What the caller declared.
        is_whole: Whether that is all of it.

    Raises:
        Refused: Where its rows are not of two columns or more.
    """
    begin = 0
    delimiter = options.delimiter
    if sep := _SEP_LINE.match(sample):
        begin = sep.end()
        delimiter = delimiter or sep[1].decode("utf-8", "replace")
    body = sample[begin:]
    if not body.strip():
        raise _no_rows(is_whole=is_whole)
    samples = [
        _best_quoting(body, candidate, options.quoting, is_whole=is_whole)
        for candidate in ([delimiter] if delimiter else _DELIMITERS)
    ]
    best = max(samples, key=lambda found: round(found.share, 2))
    if best.share < 0.5:  # noqa: PLR2004  # most of the rows decide
        raise _no_table(samples, body, options)
    return Table(
        delimiter=best.delimiter,
        quoting=best.quoting,
        columns=best.columns,
        rows=[tuple(cell.decode("utf-8", "replace") for cell in row) for row in best.rows],
        is_whole=is_whole and not best.broken_line and len(best.rows) < _SAMPLE_RECORDS,
        begin=begin,
        spans=[(begin + start, begin + end) for start, end in best.spans],
        assumed=frozenset(
            name
            for name, declared in (("delimiter", delimiter), ("quoting", options.quoting))
            if not declared
        ),
    )


def _best_quoting(body: bytes, delimiter: str, declared: Quoting, *, is_whole: bool) -> _Sample:
    """Read the sample as it was declared to be quoted, or in the first way that fits."""
    if declared is not Quoting.DETECT:
        return _read(body, delimiter, declared, is_whole=is_whole)
    doubled = _read(body, delimiter, Quoting.DOUBLED, is_whole=is_whole)
    if not doubled.broken_line:
        return doubled
    if b'\\"' in body:
        escaped = _read(body, delimiter, Quoting.BACKSLASH, is_whole=is_whole)
        if not escaped.broken_line:
            return escaped
    literal = _read(body, delimiter, Quoting.NONE, is_whole=is_whole)
    opened = [cell for row in literal.rows for cell in row if cell.lstrip().startswith(b'"')]
    is_literal = (
        literal.share >= _ALMOST_ALL
        # One of them is rather a quote that was forgotten.
        and len(opened) > 1
        and not any(len(cell) > 1 and cell.rstrip().endswith(b'"') for cell in opened)
    )
    return literal if is_literal else doubled


def _read(body: bytes, delimiter: str, quoting: Quoting, *, is_whole: bool) -> _Sample:
    """Read the first records, up to the first that is broken.

    A broken quote may swallow the rest of the sample, and what follows it, read line by line,
    would look like rows: only a broken first record is stepped over.
    """
    grammar = Grammar(delimiter, quoting)
    # Passed over at once: there may be a million.
    blank = re.compile(rb"(?:[ \t\v\f%b]*+\n)*+" % re.escape(delimiter.encode()))
    rows: list[tuple[bytes, ...]] = []
    spans: list[tuple[int, int]] = []
    position = broken_line = 0
    if is_whole and not body.endswith(b"\n"):
        body += b"\n"
    while len(rows) < _SAMPLE_RECORDS:
        if found := blank.match(body, position):
            position = found.end()
        if position >= len(body):
            break
        record = grammar.match(body, position)
        if record is None:
            if not is_whole and grammar.is_open(body, position):
                break
            broken_line = broken_line or body.count(b"\n", 0, position) + 1
            if rows:
                break
            position = body.find(b"\n", position) + 1 or len(body)
            continue
        if any(map(bytes.strip, record.cells)):
            rows.append(record.cells)
            spans.append((position, record.end))
        position = record.end
    return _Sample(
        delimiter=delimiter,
        quoting=quoting,
        rows=rows,
        spans=spans,
        broken_line=broken_line,
    )


def _no_rows(*, is_whole: bool) -> Refused:
    what = "holds no rows, only" if is_whole else f"begins with more than {MOST_BLANK} bytes of"
    return Refused(
        Finding(
            code=Code.EMPTY_FILE,
            message=f"The file {what} blank lines.",
            fix="Upload a CSV file with two columns: text and label.",
        )
    )


def _no_table(samples: Sequence[_Sample], body: bytes, options: DatasetOptions) -> Refused:
    """Say why no delimiter gives two columns or more."""
    found = max(samples, key=lambda sample: (sample.share, sample.broken_line > 0))
    if found.broken_line and not found.share:
        return Refused(
            Finding(
                code=Code.UNTERMINATED_QUOTE,
                message=f"The quotes of line {found.broken_line} are not balanced.",
                line=found.broken_line,
                excerpt=excerpt(body.split(b"\n", found.broken_line)[found.broken_line - 1]),
                fix='Double every quote inside a quoted text: "". Where a backslash escapes them, '
                "declare quoting `backslash`; where they are characters like any other, `none`.",
            )
        )
    if found.columns <= 1:
        tried = "comma, semicolon, tab or |"
        if options.delimiter:
            name = _NAMES.get(options.delimiter, repr(options.delimiter))
            tried = f"the declared delimiter, {name},"
        message = f"The file has one column: {tried} does not split its rows in two."
        fix = (
            "Write one example a line: the text, a comma, the label. Quote a text that holds a "
            "comma. If another character stands between them, declare it (`--delimiter`)."
        )
    else:
        message = "The rows agree on no number of columns, whichever delimiter is taken."
        fix = 'If a text holds the delimiter, put the text in quotes: "...".'
    return Refused(
        Finding(
            code=Code.COLUMN_COUNT,
            message=message,
            line=1,
            excerpt=excerpt(body.lstrip().split(b"\n", 1)[0]),
            fix=fix,
        )
    )
