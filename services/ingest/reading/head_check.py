"""What the first bytes of a file give away: archives, workbooks, pages, other encodings.

A wrong file is named for what it is before any attempt to read it as a table.
"""

from __future__ import annotations

import codecs
import json

from services.ingest.finding import Code, Finding, Refused, excerpt

HEAD_BYTES = 2 << 20
"""How much of a file is looked at before the stream begins: a thousand rows of 2 kB each."""

_AS_CSV = "Open it in the program that made it, and save or export it as CSV UTF-8."
_AS_UTF8 = (
    "Save it as UTF-8: in Excel choose 'CSV UTF-8 (Comma delimited)', in LibreOffice the "
    "character set 'Unicode (UTF-8)', on a command line `iconv -f {encoding} -t UTF-8`."
)
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", _AS_CSV),
    (b"\x1f\x8b", "a gzip archive", "Decompress it first: `gunzip FILE`."),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "Decompress it first: `zstd -d FILE`."),
    (b"BZh", "a bzip2 archive", "Decompress it first: `bunzip2 FILE`."),
    (b"\xfd7zXZ\x00", "an xz archive", "Decompress it first: `unxz FILE`."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Extract the CSV file and upload that."),
    (b"Rar!\x1a\x07", "a RAR archive", "Extract the CSV file and upload that."),
    (b"%PDF-", "a PDF document", "Upload the table it was made from, as CSV UTF-8."),
    (b"PAR1", "a Parquet file", "Write it as CSV with the two columns text and label."),
    (b"SQLite format 3\x00", "an SQLite database", "Export the table as CSV."),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", "Upload a CSV file of texts and labels."),
    (b"\xff\xd8\xff", "a JPEG picture", "Upload a CSV file of texts and labels."),
    (b"{\\rtf", "a rich text document", "Save the table as CSV UTF-8."),
)
_BYTE_ORDER_MARKS: tuple[tuple[bytes, str], ...] = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "UTF-32LE"),
    (codecs.BOM_UTF32_BE, "UTF-32BE"),
    (codecs.BOM_UTF16_LE, "UTF-16LE"),
    (codecs.BOM_UTF16_BE, "UTF-16BE"),
)


def check_head(head: bytes) -> None:
    """Refuse a file whose first bytes show that it is no UTF-8 table.

    Args:
        head: The first bytes of the file, a few hundred or more where the file has them.

    Raises:
        Refused: Naming what the file is and how to get a CSV out of it.
    """
    if not head:
        raise Refused(
            Finding(
                code=Code.EMPTY_FILE,
                message="The file is empty (0 bytes).",
                fix="Upload a CSV file with two columns: text and label.",
            )
        )
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            raise _wrong_encoding(
                encoding, f"The file begins with the byte order mark of {encoding}"
            )
    if head.startswith(b"PK\x03\x04"):
        raise _wrong_format(*_describe_zip(head))
    for magic, what, fix in _MAGIC:
        if head.startswith(magic):
            raise _wrong_format(what, fix)
    _check_bytes_of_utf16(head)
    _check_markup(head.removeprefix(codecs.BOM_UTF8).lstrip()[:4096])


def _describe_zip(head: bytes) -> tuple[str, str]:
    if b"xl/" in head or b"[Content_Types].xml" in head:
        return "an Excel workbook (.xlsx)", "In Excel: Save As, 'CSV UTF-8 (Comma delimited)'."
    if b"opendocument.spreadsheet" in head:
        return "an OpenDocument spreadsheet", _AS_CSV
    return "a zip archive", "Extract the CSV file from it and upload that."


def _check_bytes_of_utf16(head: bytes) -> None:
    """Refuse UTF-16 without a mark: in Latin text every other byte is NUL."""
    sample = head[:4096]
    half = len(sample) // 2
    for start, encoding in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        # Two thirds: accents and symbols beyond U+00FF have no NUL, blanks and letters do.
        if half and sample[start::2].count(0) * 3 > half * 2 and 0 not in sample[1 - start :: 2]:
            raise _wrong_encoding(encoding, f"The file looks like {encoding} without a mark")


def _check_markup(head: bytes) -> None:
    lowered = head[:256].lower()
    if lowered.startswith((b"<!doctype html", b"<html")):
        raise _wrong_format(
            "an HTML page", "A download link may have answered a web page: get the file itself."
        )
    if lowered.startswith(b"<?xml"):
        raise _wrong_format("an XML document", _AS_CSV)
    first_line = head.split(b"\n", 1)[0].rstrip()
    if first_line[:1] in {b"{", b"["} and _is_json(head, first_line):
        lines = "JSON lines" if first_line[:1] == b"{" and first_line != head.rstrip() else "JSON"
        raise _wrong_format(lines, "Write it as CSV with the two columns text and label.")


def _is_json(head: bytes, first_line: bytes) -> bool:
    if head.startswith((b"{\n", b"[\n", b"{\r", b"[\r", b"[{", b"[ {", b'{"')):
        return True
    try:
        json.loads(first_line)
    except ValueError:
        return False
    return True


def _wrong_format(what: str, fix: str) -> Refused:
    return Refused(
        Finding(
            code=Code.UNSUPPORTED_FORMAT,
            message=f"This is {what}, not a CSV file.",
            fix=fix,
        )
    )


def _wrong_encoding(encoding: str, message: str) -> Refused:
    return Refused(
        Finding(
            code=Code.UNSUPPORTED_ENCODING,
            message=f"{message}; only UTF-8 is read.",
            fix=_AS_UTF8.format(encoding=encoding),
        )
    )


def invalid_utf8(*, line: int, data: bytes, position: int) -> Refused:
    """Return the refusal of a byte that is no UTF-8.

    Args:
        line: Physical line of the byte, from 1.
        data: Bytes around it.
        position: Of the byte in `data`.
    """
    byte = data[position]
    meaning = bytes([byte]).decode("cp1252", "replace")
    begin = data.rfind(b"\n", 0, position) + 1
    return Refused(
        Finding(
            code=Code.UNSUPPORTED_ENCODING,
            message=f"Line {line} is not UTF-8: byte 0x{byte:02X} has no meaning there."
            + (f" In Windows-1252 it is '{meaning}'." if meaning.isprintable() else ""),
            line=line,
            excerpt=excerpt(data[begin : position + 80].decode("cp1252", "replace")),
            fix=_AS_UTF8.format(encoding="WINDOWS-1252"),
        )
    )


def nul_byte(*, line: int) -> Refused:
    """Return the refusal of a NUL byte in `line`."""
    return Refused(
        Finding(
            code=Code.NUL_BYTE,
            message=f"Line {line} holds a NUL byte: the file is binary, damaged, or UTF-16.",
            line=line,
            fix=_AS_UTF8.format(encoding="UTF-16") + " Or remove the NUL bytes: `tr -d '\\000'`.",
        )
    )
