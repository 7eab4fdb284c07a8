"""Finds out how a file is delimited and which column is what, from its beginning.

What the caller declares is never questioned; all that is assumed instead is reported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.ingest.dataset import DatasetOptions, Dialect, RecordLayout
from services.ingest.finding import Code, Finding, Refused, excerpt
from services.ingest.reading.records import Grammar

DELIMITERS = (",", ";", "\t", "|")
"""What is looked for, the most usual first."""

SAMPLE_RECORDS = 1000
"""Records of the beginning that decide; more would not change the verdict."""

COLUMNS = 2
"""Text and label."""

_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_TEXT_NAMES = frozenset(
    # As people name them in exports and public sets.
    [
        "text",
        "texts",
        "message",
        "messages",
        "sentence",
        "sentences",
        "utterance",
        "utterances",
        "comment",
        "comments",
        "review",
        "reviews",
        "body",
        "content",
        "description",
        "document",
        "example",
        "feedback",
        "input",
        "phrase",
        "post",
        "prompt",
        "query",
        "question",
        "request",
        "subject",
        "title",
        "tweet",
        "verbatim",
    ]  # reads as a list of words
)
_LABEL_NAMES = frozenset(
    [
        "label",
        "labels",
        "class",
        "classes",
        "category",
        "categories",
        "intent",
        "intents",
        "sentiment",
        "tone",
        "target",
        "answer",
        "emotion",
        "group",
        "output",
        "rating",
        "score",
        "status",
        "tag",
        "topic",
        "type",
        "y",
    ]  # as above
)
_SEP_LINE = re.compile(rb"""["']?sep=(.)["']?\n""")
"""Excel's own first line that names the delimiter."""

_MOST_CELLS_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """The beginning of the file, read with one delimiter."""

    delimiter: str
    rows: Sequence[tuple[bytes, ...]]
    broken_line: int
    """Line of the first record whose quotes are wrong; 0 where there is none."""

    @property
    def share(self) -> float:
        """Share of the records that have exactly two columns."""
        return sum(len(row) == COLUMNS for row in self.rows) / max(len(self.rows), 1)

    @property
    def usual_columns(self) -> tuple[int, float]:
        """The most frequent number of columns, and the share of the records that have it."""
        if not self.rows:
            return 0, 0.0
        columns, count = Counter(len(row) for row in self.rows).most_common(1)[0]
        return columns, count / len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """How the file is to be read, and where its first data row begins."""

    dialect: Dialect
    layout: RecordLayout
    skip_bytes: int
    """Bytes before the first data row: the header, and what a spreadsheet puts above it."""

    skip_lines: int
    """Physical lines in `skip_bytes`."""


def detect_dialect(sample: bytes, options: DatasetOptions) -> Detected:
    """Find out how the file is to be read.

    Args:
        sample: Its beginning, UTF-8, line ends LF, whole lines only.
        options: What the caller declared.

    Raises:
        Refused: Where the file has not exactly two columns.
    """
    skip = 0
    declared = options.delimiter
    if sep := _SEP_LINE.match(sample):
        skip = sep.end()
        declared = declared or sep[1].decode("utf-8", "replace")
    body = sample[skip:]
    candidates = [declared] if declared else list(DELIMITERS)
    samples = [_read(body, delimiter) for delimiter in candidates]
    best = max(samples, key=lambda found: found.share)
    if not body.strip():
        raise _no_rows()
    if best.share < 0.5:  # noqa: PLR2004  # most of the rows decide
        raise _wrong_columns(samples, body, options)
    first = tuple(_name(cell) for cell in best.rows[0])
    header = options.has_header
    if header is None:
        header = _is_header(best.rows)
    text_index = _text_index(first) if header and len(first) == COLUMNS else 0
    names = tuple(excerpt(cell.strip()) for cell in best.rows[0]) if header else ("1", "2")
    header_end = _end_of_first_record(body, best.delimiter) if header else 0
    return Detected(
        dialect=Dialect(
            delimiter=best.delimiter,
            has_header=header,
            columns=names,
            text_column=names[text_index],
            label_column=names[1 - text_index] if len(names) > 1 else "",
        ),
        layout=RecordLayout(delimiter=best.delimiter, text=text_index, labels=1 - text_index),
        skip_bytes=skip + header_end,
        skip_lines=sample.count(b"\n", 0, skip + header_end),
    )


def _read(body: bytes, delimiter: str) -> _Sample:
    """Read the first records, up to the first that is broken.

    A broken quote may swallow the rest of the sample, and what follows it, read line by line,
    would look like rows: only a broken first record is stepped over.
    """
    grammar = Grammar(delimiter.encode())
    rows: list[tuple[bytes, ...]] = []
    position = broken_line = 0
    while position < len(body) and len(rows) < SAMPLE_RECORDS:
        record = grammar.match(body, position)
        if record is None:
            broken_line = broken_line or body.count(b"\n", 0, position) + 1
            if rows:
                break
            position = body.find(b"\n", position) + 1 or len(body)
            continue
        position = record.end
        if any(cell.strip() for cell in record.cells):
            rows.append(record.cells)
    return _Sample(delimiter=delimiter, rows=rows, broken_line=broken_line)


def _end_of_first_record(body: bytes, delimiter: str) -> int:
    grammar = Grammar(delimiter.encode())
    position = 0
    while (record := grammar.match(body, position)) is None or not any(
        cell.strip() for cell in record.cells
    ):
        position = record.end if record else body.index(b"\n", position) + 1
    return record.end


def _name(cell: bytes) -> str:
    """Return the cell as the name of a column: case, blanks and prefixes do not matter."""
    name = cell.decode("utf-8", "replace").strip().lower()
    return re.sub(r"[_\- ](name|id|text|column|field)$", "", name)


def _is_header(rows: Sequence[tuple[bytes, ...]]) -> bool:
    if len(rows[0]) != COLUMNS:
        return False
    left, right = (_name(cell) for cell in rows[0])
    known = _TEXT_NAMES | _LABEL_NAMES
    if left in known and right in known:
        return True
    # One known name is enough where its neighbour, short as names are, never comes again.
    for index, name in enumerate((left, right)):
        other = rows[0][1 - index]
        if name in known and len(other.strip()) in range(1, 41):
            return all(len(row) <= 1 - index or row[1 - index] != other for row in rows[1:])
    return False


def _text_index(names: tuple[str, ...]) -> int:
    """Return which of two named columns holds the texts; the first where nothing tells."""
    left, right = names
    label_first = left in _LABEL_NAMES and right not in _LABEL_NAMES
    text_second = right in _TEXT_NAMES and left not in _TEXT_NAMES
    return int(label_first or text_second)


def _no_rows() -> Refused:
    return Refused(
        Finding(
            code=Code.EMPTY_FILE,
            message="The file holds no rows, only blank lines.",
            fix="Upload a CSV file with two columns: text and label.",
        )
    )


def _wrong_columns(samples: Sequence[_Sample], body: bytes, options: DatasetOptions) -> Refused:
    """Say why no delimiter gives two columns."""
    several = [found for found in samples if found.usual_columns[0] > 1]
    found = max(several or samples, key=lambda sample: sample.usual_columns[1])
    columns, share = found.usual_columns
    name = _NAMES.get(found.delimiter, repr(found.delimiter))
    first_line = body.split(b"\n", 1)[0]
    if found.broken_line and len(found.rows) <= 1:
        return Refused(
            Finding(
                code=Code.UNTERMINATED_QUOTE,
                message=f"The quotes of line {found.broken_line} are not balanced.",
                line=found.broken_line,
                excerpt=excerpt(body.split(b"\n", found.broken_line)[found.broken_line - 1]),
                fix='Double every quote inside a quoted text: "". A backslash does not escape it.',
            )
        )
    if columns <= 1:
        tried = (
            f"the declared delimiter, {name},"
            if options.delimiter
            else "comma, semicolon, tab or |"
        )
        return Refused(
            Finding(
                code=Code.COLUMN_COUNT,
                message=f"The file has one column: {tried} does not split its rows in two.",
                line=1,
                excerpt=excerpt(first_line),
                fix="Write one example a line: the text, a comma, the label. Quote a text that "
                "holds a comma.",
            )
        )
    row = next(row for row in found.rows if len(row) == columns)
    cells = ", ".join(excerpt(cell.strip())[:40] or "(empty)" for cell in row[:_MOST_CELLS_NAMED])
    more = ", ..." if columns > _MOST_CELLS_NAMED else ""
    message = f"The file has {columns} columns (delimiter: {name}), not two: {cells}{more}."
    if share < 0.5:  # noqa: PLR2004  # not even most of the rows agree
        message = "The rows agree on no number of columns, whichever delimiter is taken."
    return Refused(
        Finding(
            code=Code.COLUMN_COUNT,
            message=message,
            line=1,
            excerpt=excerpt(first_line),
            fix="Keep two columns, the text and the label. If a text holds the delimiter, put the "
            'text in quotes: "...".',
        )
    )
