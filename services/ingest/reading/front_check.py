"""The streaming pass before DuckDB: bytes in, canonical records out.

One file is read once, in blocks, whatever its size. What leaves is what DuckDB cannot misread;
what does not fit becomes a finding with its line, or refuses the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from services.ingest.dataset import (
    Checked,
    DatasetOptions,
    Dialect,
    Format,
    Limits,
    Records,
    Split,
    UploadedFile,
)
from services.ingest.finding import Code, Finding, FindingWriter, Refused
from services.ingest.reading.decoding import Misjudged
from services.ingest.reading.delimited import read_delimited
from services.ingest.reading.encoding import Encoding, encoding_of, western
from services.ingest.reading.head_check import check_head, check_markup, is_json_lines
from services.ingest.reading.json_lines import read_json_lines
from services.ingest.reading.newlines import Newlines
from services.ingest.reading.parquet import is_parquet, read_parquet
from services.ingest.reading.record_files import RecordFiles
from services.ingest.reading.record_writer import RecordWriter
from services.ingest.reading.source import Metered, blocks, compression_of, decompressed
from services.ingest.reading.text import Text

HEAD_BYTES = 1 << 20
"""How much is looked at before the first row is read: a thousand rows of a kilobyte each."""

BLOCK_BYTES = 256 << 10
"""How much is read at once: what the arrays of its scan need fits a processor's cache."""

_MAGIC_BYTES = 16
"""Enough to tell an archive."""


def check_file(
    file: UploadedFile,
    *,
    split: Split,
    options: DatasetOptions,
    limits: Limits,
    directory: Path,
    take: Callable[[Records], None],
    forget: Callable[[], None],
    findings: FindingWriter,
    check: Callable[[], None] = lambda: None,
    head_bytes: int = HEAD_BYTES,
    block_bytes: int = BLOCK_BYTES,
) -> Checked:
    """Read one uploaded file and write what DuckDB shall read.

    Args:
        file: The upload; it is opened again where its beginning misled.
        split: Which file it is.
        options: What the caller declared.
        limits: What is too much.
        directory: Scratch, where files named after the split are written.
        take: Receives the records, in runs, while the file is read; removes their files.
        forget: Called where all that was taken of this file was misread.
        findings: Receives what is wrong with single rows, and what was assumed.
        check: Called now and then when all bytes were taken; what it raises ends the reading.
        head_bytes: How much is looked at before the first row is read.
        block_bytes: How much is read at once.

    Raises:
        Refused: Where the file cannot be read as labelled texts.
    """
    mark = findings.mark()
    reading = _Reading(
        split=split,
        options=options,
        limits=limits,
        directory=directory,
        take=take,
        findings=findings,
        check=check,
        head_bytes=head_bytes,
        block_bytes=block_bytes,
    )
    try:
        return reading.run(file)
    except Misjudged as misjudged:
        findings.rewind(mark)
        forget()
        return reading.run(file, western(misjudged.sample))


class _Reading:
    """What one file is read with."""

    def __init__(
        self,
        *,
        split: Split,
        options: DatasetOptions,
        limits: Limits,
        directory: Path,
        take: Callable[[Records], None],
        findings: FindingWriter,
        check: Callable[[], None],
        head_bytes: int,
        block_bytes: int,
    ) -> None:
        self._directory = directory
        self._take = take
        self._split = split
        self._options = options
        self._limits = limits
        self._findings = findings
        self._check = check
        self._head_bytes = head_bytes
        self._block_bytes = block_bytes

    def run(self, file: UploadedFile, encoding: Encoding | None = None) -> Checked:
        """Read the file, in `encoding` where its beginning misled before."""
        metered = Metered(file.chunks())
        magic, chunks = _peek(iter(metered), _MAGIC_BYTES)
        if not magic:
            raise _empty()
        compression = compression_of(magic)
        stream = blocks(
            decompressed(chunks, compression, max_bytes=self._limits.max_decompressed_bytes),
            first=self._head_bytes,
            then=self._block_bytes,
        )
        head = next(stream, b"")
        if not head:
            raise _empty()
        with RecordFiles(split=self._split, directory=self._directory, take=self._take) as files:
            out = RecordWriter(
                split=self._split, limits=self._limits, files=files, findings=self._findings
            )
            dialect = self._read(head, stream, out, encoding)
            files.finish()
        out.check_share()
        assumed = {*dialect.assumed, *(() if self._options.format else ("format",))}
        return Checked(
            split=self._split,
            size_bytes=metered.size_bytes,
            sha256=metered.sha256,
            dialect=replace(dialect, compression=compression, assumed=tuple(sorted(assumed))),
            rows_read=out.rows,
            rows_kept=out.kept,
        )

    def _read(
        self,
        head: bytes,
        stream: Iterator[bytes],
        out: RecordWriter,
        encoding: Encoding | None,
    ) -> Dialect:
        """Read what was uploaded, decompressed, as what it is."""
        options, limits, split = self._options, self._limits, self._split
        whole = chain([head], stream)
        if is_parquet(head, options):
            return read_parquet(
                whole,
                directory=self._directory,
                split=split,
                options=options,
                limits=limits,
                out=out,
                findings=self._findings,
                check=self._check,
            )
        check_head(head)
        encoding = encoding or encoding_of(
            head, declared=options.encoding, is_whole=len(head) < self._head_bytes
        )
        if encoding.finding is not None:
            self._findings.add(replace(encoding.finding, split=split))
        text = Text(whole, encoding)
        beginning, is_whole = text.head(self._head_bytes)
        if options.format is not Format.CSV:
            check_markup(beginning)
        if is_json_lines(beginning, options, is_whole=is_whole):
            dialect = read_json_lines(
                text,
                split=split,
                options=options,
                limits=limits,
                out=out,
                findings=self._findings,
                head_bytes=self._head_bytes,
            )
        else:
            dialect = read_delimited(
                text,
                split=split,
                options=options,
                limits=limits,
                out=out,
                findings=self._findings,
                head_bytes=self._head_bytes,
                block_bytes=self._block_bytes,
            )
        self._findings.extend(_notes(split, text.newlines, out))
        assumed = dialect.assumed if encoding.is_declared else (*dialect.assumed, "encoding")
        return replace(dialect, encoding=encoding.name, assumed=assumed)


def _peek(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterable[bytes]]:
    """Return the first bytes of a stream, and the stream."""
    seen: list[bytes] = []
    head = b""
    while len(head) < size and (chunk := next(chunks, None)) is not None:
        seen.append(chunk)
        head += chunk[: size - len(head)]
    return head, chain(seen, chunks)


def _empty() -> Refused:
    return Refused(
        Finding(
            code=Code.EMPTY_FILE,
            message="The file is empty (0 bytes).",
            fix="Upload a CSV file with two columns: text and label.",
        )
    )


def _notes(split: Split, newlines: Newlines, out: RecordWriter) -> Iterator[Finding]:
    lf = out.line - 1 - newlines.crlf - newlines.lone_cr
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
    if out.blank_lines:
        yield Finding(
            code=Code.BLANK_LINES,
            message="A blank line was skipped."
            if out.blank_lines == 1
            else f"{out.blank_lines} blank lines were skipped.",
            split=split,
            count=out.blank_lines,
        )
