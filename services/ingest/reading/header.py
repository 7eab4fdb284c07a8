"""Finds the row that names the columns: the first, or the first below a title; or none."""

from __future__ import annotations

from collections.abc import Sequence

from services.ingest.dataset import DatasetOptions
from services.ingest.finding import Code, Finding, Refused, excerpt
from services.ingest.reading.evidence import could_be_names, names_its_column
from services.ingest.reading.names import is_label_name, is_text_name

_SHORT = 40
"""Characters that hardly any name exceeds."""

_MOST_ABOVE = 10
"""Rows among which the first full one is looked for."""


def find_header(
    rows: Sequence[Sequence[str]], width: int, options: DatasetOptions, *, is_whole: bool
) -> int | None:
    """Find the row that names the columns.

    Args:
        rows: The first rows.
        width: Columns that most rows have.
        options: What the caller declared.
        is_whole: Whether the file has no other rows.

    Returns:
        Its index: 0, or that of the first full row where a title stands above; None where there
        is none.

    Raises:
        Refused: Where there is one row only, and nothing tells.
    """
    if options.has_header is not None:
        return 0 if options.has_header else None
    full = next((n for n, row in enumerate(rows[:_MOST_ABOVE]) if len(row) == width), 0)
    if full and _is_header(rows[full:], width):
        return full
    if _names_columns(options) or _is_header(rows, width):
        return 0
    if len(rows) == 1 and is_whole:
        raise _single_row(rows[0])
    return None


def _is_header(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Tell whether the first of these rows is a header, by its words or by what is below."""
    first, below = rows[0], [row for row in rows[1:] if len(row) == width]
    if _has_known_names(first, rows[1:]):
        return True
    return (
        len(first) == width
        and could_be_names(first)
        and any(
            names_its_column(name, [row[column] for row in below])
            for column, name in enumerate(first)
        )
    )


def overlooked_header(rows: Sequence[Sequence[str]], header: int | None) -> int | None:
    """Return the index of a row that was read as data, but may name the columns.

    Args:
        rows: The first rows.
        header: Which of them was taken for the header.
    """
    if header is None and _may_be_header(rows[0]):
        return 0
    taken = () if header is None else rows[header]
    return next(
        (
            n
            for n, row in enumerate(rows[:_MOST_ABOVE])
            if n > (header or 0) and _names_both(row) and row != taken
        ),
        None,
    )


def suspicious_header(cells: Sequence[str], *, line: int, row: int, is_first: bool) -> Finding:
    """Return the warning that a row that was read as data may be a header."""
    return Finding(
        code=Code.SUSPICIOUS_HEADER,
        message=f"The {'first row' if is_first else f'row {row}'} was read as data, but may name "
        "the columns.",
        line=line,
        row=row,
        excerpt=excerpt(", ".join(cell.strip() for cell in cells)),
        fix="If it does, declare has_header (`--has-header`)."
        if is_first
        else "If it does, remove what stands above it.",
    )


def _may_be_header(first: Sequence[str]) -> bool:
    return could_be_names(first) and any(is_text_name(c) or is_label_name(c) for c in first)


def _names_both(cells: Sequence[str]) -> bool:
    """Tell whether a well-known name of texts and one of labels stand in a row of short cells."""
    texts = [n for n, cell in enumerate(cells) if is_text_name(cell)]
    labels = [n for n, cell in enumerate(cells) if is_label_name(cell)]
    return any(text != label for text in texts for label in labels) and all(
        len(cell.strip()) <= _SHORT for cell in cells
    )


def _names_columns(options: DatasetOptions) -> bool:
    """Tell whether a column was declared by its name, which only a header can have."""
    columns = (options.text_column, options.label_column, *options.keep_columns)
    return any(column.strip() and not column.strip().isdecimal() for column in columns)


def _has_known_names(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Tell whether well-known names stand in the row.

    One is enough in two columns, where its neighbour, short as names are, never comes again.
    """
    if _names_both(first):
        return True
    known = [n for n, cell in enumerate(first) if is_text_name(cell) or is_label_name(cell)]
    if len(first) != 2 or not known:  # noqa: PLR2004  # text and label
        return False
    other = 1 - known[0]
    return len(first[other].strip()) in range(1, _SHORT + 1) and all(
        len(row) <= other or row[other] != first[other] for row in below
    )


def _single_row(first: Sequence[str]) -> Refused:
    return Refused(
        Finding(
            code=Code.TOO_FEW_EXAMPLES,
            message="The file holds one row only, and nothing tells whether it is a header.",
            line=1,
            excerpt=excerpt(", ".join(cell.strip() for cell in first)),
            fix="Upload more rows; or declare has_header (`--has-header`, `--no-header`).",
        )
    )
