"""The texts that a command is to work on: arguments, a file, or standard input."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

STANDARD_INPUT = Path("-")


def read_texts(given: Sequence[str], file: Path | None) -> tuple[list[str], int]:
    """Collect the texts.

    Args:
        given: Texts from the command line.
        file: CSV with a `text` column, or one text a line; `-` is standard input. Without it
            and without texts, standard input is read unless it is a terminal.

    Returns:
        The texts, and the number of blank lines that were left out.

    Raises:
        BadParameter: There is nothing to read, or it is no UTF-8.
    """
    if given and file is not None:
        raise typer.BadParameter("Give texts or --file, not both.")
    if given:
        return list(given), 0
    if file is None:
        if sys.stdin.isatty():
            raise typer.BadParameter("Give a TEXT, or --file FILE, or pipe texts in.")
        file = STANDARD_INPUT
    name, content = _content(file)
    texts, blank = parse_texts(content)
    if not texts:
        raise typer.BadParameter(f"{name} holds no text.")
    return texts, blank


def read_examples(file: Path) -> list[tuple[str, str]]:
    """Read pairs of a text and its label from a CSV file that names these columns.

    Raises:
        BadParameter: It names others, holds nothing, or is no UTF-8.
    """
    name, content = _content(file)
    rows = csv.reader(io.StringIO(content))
    header = [column.strip().lower() for column in next(rows, [])]
    if not {"text", "label"} <= set(header):
        raise typer.BadParameter(
            f"{name}: the first line names {', '.join(header) or 'nothing'}; it has to name the "
            "columns `text` and `label`."
        )
    text, label = header.index("text"), header.index("label")
    pairs = []
    for row in filter(None, rows):
        if len(row) != len(header):
            raise typer.BadParameter(
                f"{name}, line {rows.line_num}: has {len(row)} columns, the first line has "
                f"{len(header)}. Put values with commas into double quotes."
            )
        pairs.append((row[text], row[label]))
    if not pairs:
        raise typer.BadParameter(f"{name} holds no example.")
    return pairs


def _content(file: Path) -> tuple[str, str]:
    """Return what to call a file, and what is in it."""
    name = "standard input" if file == STANDARD_INPUT else str(file)
    data = sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()
    try:
        return name, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"{name} is no UTF-8: {error.reason} at byte {error.start}."
        ) from None


def parse_texts(content: str) -> tuple[list[str], int]:
    """Read a CSV file that has a column named `text`, or else one text a line.

    Returns:
        The texts, and the number of blank lines that were left out.
    """
    rows = csv.reader(io.StringIO(content))
    header = [name.strip().lower() for name in next(rows, [])]
    if "text" in header:
        column = header.index("text")
        cells = [row[column] if len(row) > column else "" for row in rows if row]
        return cells, 0
    lines = content.splitlines()
    texts = [line for line in lines if line.strip()]
    return texts, len(lines) - len(texts)
