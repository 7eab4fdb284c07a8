"""The streaming pass before DuckDB: bytes in, a file that DuckDB cannot misread out.

One file is read once, in chunks. What leaves is UTF-8 with LF line ends and records of exactly
two columns; what does not fit becomes a finding with its line, or refuses the file.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from services.ingest.dataset import Checked, DatasetOptions, Limits, Split
from services.ingest.finding import Code, Finding, FindingWriter
from services.ingest.reading.dialect import Detected, detect_dialect
from services.ingest.reading.head_check import HEAD_BYTES, check_head, invalid_utf8, nul_byte
from services.ingest.reading.record_scanner import RecordScanner


class _Newlines:
    """Makes every line end LF and remembers what was there."""

    def __init__(self) -> None:
        self._carry = b""
        self.crlf = 0
        self.lone_cr = 0

    def feed(self, chunk: bytes, *, final: bool) -> bytes:
        if self._carry:
            chunk = self._carry + chunk
            self._carry = b""
        if not final and chunk.endswith(b"\r"):
            # Its LF may open the next chunk.
            chunk, self._carry = chunk[:-1], b"\r"
        if b"\r" not in chunk:
            return chunk
        pairs = chunk.count(b"\r\n")
        self.crlf += pairs
        chunk = chunk.replace(b"\r\n", b"\n")
        self.lone_cr += chunk.count(b"\r")
        return chunk.replace(b"\r", b"\n")


class _Utf8:
    """Checks that a stream is UTF-8 without NUL; knows the line of the first fault."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._line = 1

    def feed(self, chunk: bytes, *, final: bool) -> None:
        nul = chunk.find(b"\0")
        try:
            self._decoder.decode(chunk if nul < 0 else chunk[:nul], final)
        except UnicodeDecodeError as error:
            data = bytes(error.object)
            line = self._line + data.count(b"\n", 0, error.start)
            raise invalid_utf8(line=line, data=data, position=error.start) from None
        if nul >= 0:
            raise nul_byte(line=self._line + chunk.count(b"\n", 0, nul))
        self._line += chunk.count(b"\n")


def check_file(
    chunks: Iterable[bytes],
    *,
    split: Split,
    options: DatasetOptions,
    limits: Limits,
    directory: Path,
    findings: FindingWriter,
    head_bytes: int = HEAD_BYTES,
) -> Checked:
    """Read one uploaded file and write what DuckDB shall read.

    Args:
        chunks: Its bytes, in pieces of any size.
        split: Which file it is.
        options: What the caller declared.
        limits: What is too much.
        directory: Scratch; two files named after the split are written there.
        findings: Receives what is wrong with single rows.
        head_bytes: How much is looked at before the first row is read.

    Raises:
        Refused: Where the file cannot be read as a table of two columns.
    """
    digest = hashlib.sha256()
    newlines, utf8 = _Newlines(), _Utf8()
    records_path = directory / f"{split}.records.csv"
    positions_path = directory / f"{split}.positions.csv"
    size = 0
    scanner: RecordScanner | None = None
    rest = b""
    head = b""
    detected: Detected | None = None
    with records_path.open("wb") as records, positions_path.open("w") as positions:
        for chunk, final in _with_end(chunks):
            digest.update(chunk)
            size += len(chunk)
            if scanner is None:
                head += chunk
                if len(head) < head_bytes and not final:
                    continue
                check_head(head)
                chunk = head.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901  # the stream so far
                head = b""
            lines = newlines.feed(chunk, final=final)
            utf8.feed(lines, final=final)
            data = rest + lines if rest else lines
            if final and data and not data.endswith(b"\n"):
                data += b"\n"
            start = 0
            if scanner is None:
                detected = detect_dialect(_whole_lines(data, final=final), options)
                start = detected.skip_bytes
                scanner = RecordScanner(
                    split=split,
                    detected=detected,
                    limits=limits,
                    records=records,
                    positions=positions,
                    findings=findings,
                )
            data = data[start:] if start else data
            rest = data[scanner.scan(data, final=final) :]
    if scanner is None or detected is None:  # pragma: no cover  # the last chunk is final
        raise AssertionError
    scanner.check_share()
    findings.extend(_notes(split, newlines, scanner))
    return Checked(
        split=split,
        size_bytes=size,
        sha256=digest.hexdigest(),
        dialect=detected.dialect,
        layout=detected.layout,
        rows_read=scanner.rows,
        rows_kept=scanner.kept,
        records=records_path,
        positions=positions_path,
    )


def _with_end(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each chunk, then an empty one that is marked as the end."""
    for chunk in chunks:
        yield chunk, False
    yield b"", True


def _whole_lines(data: bytes, *, final: bool) -> bytes:
    """Return the beginning that the dialect is judged by, cut after a line end."""
    if final:
        return data
    end = data.rfind(b"\n") + 1
    # A first line that is longer than the sample has no end yet: it is judged as it is.
    return data[:end] if end else data + b"\n"


def _notes(split: Split, newlines: _Newlines, scanner: RecordScanner) -> Iterator[Finding]:
    total = scanner.line - 1
    lf = total - newlines.crlf - newlines.lone_cr
    kinds = {"LF": lf, "CRLF": newlines.crlf, "CR": newlines.lone_cr}
    used = {name: count for name, count in kinds.items() if count > 0}
    # A last line without an end counts as one LF that nobody wrote.
    if len(used) > 1 and not (len(used) == 2 and used.get("LF") == 1):  # noqa: PLR2004
        mixed = ", ".join(f"{count} {name}" for name, count in used.items())
        yield Finding(
            code=Code.MIXED_LINE_ENDS,
            message=f"The file mixes line ends ({mixed}); all were read as line ends.",
            split=split,
            count=min(used.values()),
        )
    if scanner.blank_lines:
        yield Finding(
            code=Code.BLANK_LINES,
            message=f"{scanner.blank_lines} blank lines were skipped.",
            split=split,
            count=scanner.blank_lines,
        )
