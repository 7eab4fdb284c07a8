"""What the beginning of a file gives away: archives, workbooks, pages, JSON.

A wrong file is named for what it is before any attempt to read it as a table.
"""

from __future__ import annotations

import json
import re

from services.ingest.dataset import DatasetOptions, Format
from services.ingest.finding import Code, Finding, Refused

_AS_CSV = "Open it in the program that made it, and save or export it as CSV UTF-8."
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", _AS_CSV),
    (b"\x1f\x8b", "a gzip archive within another", "Decompress it first: `gunzip FILE`."),
    (b"\x28\xb5\x2f\xfd", "a zstd archive within another", "Decompress it: `zstd -d FILE`."),
    (b"BZh", "a bzip2 archive", "Decompress it first: `bunzip2 FILE`."),
    (b"\xfd7zXZ\x00", "an xz archive", "Decompress it first: `unxz FILE`."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Extract the CSV file and upload that."),
    (b"Rar!\x1a\x07", "a RAR archive", "Extract the CSV file and upload that."),
    (b"%PDF-", "a PDF document", "Upload the table it was made from, as CSV UTF-8."),
    (b"PAR1", "a Parquet file", "Leave the format out, or declare `parquet`."),
    (b"SQLite format 3\x00", "an SQLite database", "Export the table as CSV."),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", "Upload a CSV file of texts and labels."),
    (b"\xff\xd8\xff", "a JPEG picture", "Upload a CSV file of texts and labels."),
    (b"{\\rtf", "a rich text document", "Save the table as CSV UTF-8."),
)

_LOOKED_AT = 4096
"""Bytes of a text that tell a page, or JSON over several lines."""

_SQL = re.compile(
    rb"""
    (?: \s | --[^\n]*\n | /\*.*?\*/;? )*+
    (?: insert \s+ into \s [^;']* \b values \s* \(
      | create \s+ table \s [^;(]* \(
      | (?: drop \s+ table \s [^;'",]*
          | (?: set | pragma ) \s+ \w+ \s* = [^;\n]*
          | begin (?: \s+ transaction )?
        ) \s* ; [ \t]* \n
    )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
"""How what databases write down of themselves begins, behind their comments."""

_ARRAY = re.compile(rb"""\[\s*(?:[\[{]\s*["\]}]|\Z)""")
_OBJECT_OVER_LINES = re.compile(rb'\{[ \t]*\n\s*(?:"|\})')
_TRIED_LINES = 10
"""Lines that decide whether a file is JSON lines."""

_LIKE_OBJECT = re.compile(rb"""\x1e?\s*\{\s*(?:"[^"]*"|'[^']*')\s*:""")
"""How the lines of an object begin, be they JSON or what is taken for it."""


def check_head(head: bytes) -> None:
    """Refuse a file whose first bytes show that it is no text.

    Args:
        head: The first bytes of the file, a few hundred or more where the file has them.

    Raises:
        Refused: Naming what the file is and how to get a CSV out of it.
    """
    if head.startswith(b"PK\x03\x04"):
        raise _wrong_format(*_describe_zip(head))
    for magic, what, fix in _MAGIC:
        if head.startswith(magic):
            raise _wrong_format(what, fix)


def check_markup(text: bytes) -> None:
    """Refuse a text that is a page, or JSON that is not one object a line.

    Args:
        text: The beginning of the file, UTF-8, line ends LF.

    Raises:
        Refused: Naming what the file is and how to get lines out of it.
    """
    text = text.lstrip()[:_LOOKED_AT]
    lowered = text[:256].lower()
    if lowered.startswith((b"<!doctype html", b"<html")):
        raise _wrong_format(
            "an HTML page",
            "A download link may have answered a web page: get the file itself. If it is a table "
            "all the same, declare the format `csv`.",
        )
    if _SQL.match(text):
        raise _wrong_format(
            "an SQL script",
            "Export the table as CSV: `\\copy TABLE TO FILE.csv CSV HEADER` in psql, `.mode csv` "
            "in sqlite3. If it is a table all the same, declare the format `csv`.",
        )
    if lowered.startswith(b"<?xml"):
        raise _wrong_format("an XML document", _AS_CSV)
    if _ARRAY.match(text):
        raise _wrong_format(
            "one JSON array", "Write one object a line: `jq -c '.[]' FILE > FILE.jsonl`."
        )
    if _OBJECT_OVER_LINES.match(text):
        raise _wrong_format(
            "JSON over several lines", "Write one object a line: `jq -c . FILE > FILE.jsonl`."
        )


def is_json_lines(text: bytes, options: DatasetOptions, *, is_whole: bool) -> bool:
    """Tell whether a text is to be read as one JSON object a line.

    Args:
        text: The beginning of the file, UTF-8, line ends LF.
        options: What the caller declared.
        is_whole: Whether that is all of it.
    """
    if options.format:
        return options.format is Format.JSONL
    lines = [line for line in text.split(b"\n", 2 * _TRIED_LINES) if line.strip()]
    lines = (lines if is_whole else lines[:-1] or lines)[:_TRIED_LINES]
    alike = sum(_LIKE_OBJECT.match(line) is not None for line in lines)
    begins = bool(lines) and lines[0].lstrip().startswith(b"{")
    # What only looks like objects is refused as such: in columns nobody would see what is wrong.
    return (alike == len(lines) > 0) or (
        (begins or 2 * alike > len(lines)) and any(map(_is_object, lines))
    )


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _describe_zip(head: bytes) -> tuple[str, str]:
    if b"xl/" in head or b"[Content_Types].xml" in head:
        return "an Excel workbook (.xlsx)", "In Excel: Save As, 'CSV UTF-8 (Comma delimited)'."
    if b"opendocument.spreadsheet" in head:
        return "an OpenDocument spreadsheet", _AS_CSV
    return "a zip archive", "Extract the CSV file from it and upload that."


def _wrong_format(what: str, fix: str) -> Refused:
    return Refused(
        Finding(
            code=Code.UNSUPPORTED_FORMAT,
            message=f"This is {what}, not a CSV, JSON lines or Parquet file.",
            fix=fix,
        )
    )
