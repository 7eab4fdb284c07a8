"""Copies the regular records of a delimited file in long runs and judges all others one by one.

Regular is a record that `block` has no doubt of: the right number of columns, quotes as RFC 4180
has them. Nearly all records are, and they never become Python objects.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from services.ingest.dataset import Limits, Quoting
from services.ingest.finding import Code
from services.ingest.reading.block import BAD_BYTE, MOST_LINES, Block, Layout, Reading
from services.ingest.reading.record_writer import RecordWriter
from services.ingest.reading.records import QUOTE, Grammar, Record, write

_DOUBLE: Final = 'Double every quote inside a quoted text: "He said ""hi"" to me",label.'
_LITERAL: Final = "If quotes are characters like any other in this file, declare quoting `none`."


class RecordScanner:
    """Reads the data rows of one file."""

    def __init__(
        self, *, grammar: Grammar, columns: int, header: bytes, limits: Limits, out: RecordWriter
    ) -> None:
        """Begin after the header.

        Args:
            grammar: How records are written.
            columns: How many columns each shall have.
            header: What names them, as it stands; b"" where nothing does.
            limits: What is too much.
            out: Receives the records and what is wrong with rows.
        """
        self._grammar = grammar
        self._columns = columns
        self._max_bytes = limits.max_record_bytes
        self._out = out
        self._layout = Layout(
            delimiter=grammar.delimiter[0],
            quoting=grammar.quoting,
            columns=columns,
            max_bytes=limits.max_record_bytes,
            header=header,
        )
        self._header = _folded(header)
        blanks = rb"[ \v\f]" if grammar.delimiter == b"\t" else rb"[ \t\v\f]"
        self._blank = re.compile(rb"(?:%b*+\n)++" % blanks)
        self._rest = b""
        self._skipping = False
        """Whether the rest of a line that is too long is being passed over."""

    def feed(self, text: bytes) -> None:
        """Read more of the file, in pieces of any size."""
        if self._skipping:
            end = text.find(b"\n") + 1
            self._skipping = not end
            text = text[end or len(text) :]
        data = self._rest + text
        self._rest = data[self._scan(data, final=False) :]

    def finish(self) -> None:
        """Read what is left; a last line needs no end."""
        if self._rest:
            end = b"" if self._rest.endswith(b"\n") else b"\n"
            self._scan(self._rest + end, final=True)
            self._rest = b""

    def _scan(self, data: bytes, *, final: bool) -> int:
        """Consume whole records; return how many bytes they are."""
        position = parity = 0
        block = Block(data, self._layout)
        while position < len(data):
            reading = block.reading(parity)
            record = reading.record_at(position)
            doubtful = reading.next_doubtful(record)
            if doubtful > record:
                position = self._keep_run(data, reading, position, record, doubtful)
            elif record == len(reading.ends) and not self._is_decided(
                reading, data, position, final=final
            ):
                break
            else:
                end = self._judge(data, position, final=final)
                if end is None:
                    break
                position = end
                if not self._skipping:
                    parity = block.parity(end - 1)
        return position

    def _is_decided(self, reading: Reading, data: bytes, position: int, *, final: bool) -> bool:
        """Tell whether an incomplete record is worth a look before more data comes."""
        return final or reading.is_tail_doubtful or len(data) - position > self._max_bytes

    def _keep_run(
        self, data: bytes, reading: Reading, position: int, record: int, stop: int
    ) -> int:
        """Keep the regular records from `record` up to `stop`; return where the latter begins."""
        end = int(reading.ends[stop - 1])
        before = int(reading.lines[record - 1]) if record else 0
        lines = np.diff(reading.lines[record:stop], prepend=before)
        (tall,) = np.nonzero(lines > 1)
        self._out.keep(
            memoryview(data)[position:end],
            records=stop - record,
            lines=int(reading.lines[stop - 1]) - before,
            tall=zip(tall.tolist(), (lines[tall] - 1).tolist(), strict=True),
        )
        return end

    def _judge(self, data: bytes, position: int, *, final: bool) -> int | None:
        """Decide about a record that is not regular.

        Returns:
            Where it ends; None where more data is needed to tell.
        """
        line_end = data.find(b"\n", position)
        if line_end < 0 and len(data) - position <= self._max_bytes:
            return None
        if line_end < 0 or line_end - position >= self._max_bytes:
            return self._judge_long(data, position, line_end)
        line = data[position:line_end]
        if blank := self._blank.match(data, position):
            self._out.skip_blank_lines(data.count(b"\n", position, blank.end()))
            return blank.end()
        record = self._grammar.match(data, position)
        if record is None or record.end - position > self._max_bytes:
            held = len(data) - position
            if not final and held <= self._max_bytes and self._grammar.is_open(data, position):
                return None
            self._judge_broken(line)
            return line_end + 1
        self._judge_cells(record, data[position : record.end], line)
        return record.end

    def _judge_cells(self, record: Record, raw: bytes, line: bytes) -> None:
        """Keep or drop a record that is well formed."""
        lines = raw.count(b"\n")
        if BAD_BYTE in raw:
            self._out.drop(
                Code.BAD_ENCODING,
                "The row holds bytes that mean nothing in the encoding of the file.",
                line,
                fix="Write the row anew in the encoding of the file, or declare another encoding.",
                lines=lines,
            )
            return
        if 0 in raw:
            self._out.drop(
                Code.NUL_BYTE,
                "The row holds a NUL byte: the file is damaged, or was cut together by a program.",
                line,
                fix="Remove the NUL bytes: `tr -d '\\000'`.",
                lines=lines,
            )
            return
        cells = _without_empty_tail(record.cells, self._columns)
        if len(cells) != self._columns:
            self._drop_columns(len(cells), line, lines)
            return
        if _folded(raw) == self._header:
            self._out.note(
                Code.SUSPICIOUS_HEADER,
                "The header stands here again, and was read as data.",
                line,
                fix="Remove the row: files that are joined need one header only.",
            )
        if record.stray_quote:
            self._out.note(
                Code.STRAY_QUOTE,
                "A quote inside a text that is not quoted was read as it stands.",
                line,
                fix='To be safe, quote the whole text and double the quote inside: "".',
            )
        number = self._out.line
        if lines >= MOST_LINES and _looks_like_rows(raw, self._grammar.delimiter, self._columns):
            self._out.note(
                Code.SUSPICIOUS_QUOTE,
                f"A quoted text runs over {lines} lines that look like rows themselves.",
                line,
                fix=f"Look whether the quote on line {number} was meant to be closed there.",
            )
        self._out.keep(write(cells, self._grammar.delimiter), lines=lines)

    def _drop_columns(self, found: int, line: bytes, lines: int) -> None:
        fix = f"Write {self._columns} cells a row, each but the last followed by the delimiter."
        if found > self._columns:
            fix = "Quote a text that holds the delimiter."
        elif found == 1 and self._columns == 2:  # noqa: PLR2004  # text and label
            fix = "Write the text, the delimiter, the label."
        self._out.drop(
            Code.WRONG_COLUMN_COUNT,
            f"The row has {_columns(found)}, not {self._columns}.",
            line,
            fix=fix,
            lines=lines,
        )

    def _judge_broken(self, line: bytes) -> None:
        """Drop a malformed line that ends by itself; refuse where nobody knows the end."""
        fix = f"{_DOUBLE} {_LITERAL}"
        if b'\\"' in line and self._grammar.quoting is not Quoting.BACKSLASH:
            fix = "If a backslash escapes quotes in this file, declare quoting `backslash`."
        if self._grammar.is_closed(line):
            self._out.drop(
                Code.MALFORMED_QUOTES, "A quote inside a quoted text is not doubled.", line, fix=fix
            )
            return
        number = self._out.line
        raise self._out.refusal(
            Code.UNTERMINATED_QUOTE,
            f"The quote that opens on line {number} is never closed properly: everything after it "
            "would be read as one text.",
            line,
            fix=f"Close the quote on line {number}, or remove it. {fix}",
        )

    def _judge_long(self, data: bytes, position: int, line_end: int) -> int:
        """Drop a line that is longer than a record may be; `line_end` is -1 where it goes on."""
        begin = data[position : position + self._max_bytes]
        if self._grammar.quoting is not Quoting.NONE and begin.count(QUOTE) % 2:
            number = self._out.line
            raise self._out.refusal(
                Code.UNTERMINATED_QUOTE,
                f"A quote opens on line {number} and is not closed within {self._max_bytes} bytes.",
                begin,
                fix=f"Close the quote on line {number}, or remove it. {_LITERAL}",
            )
        self._out.drop(
            Code.LINE_TOO_LONG,
            f"The row is longer than {self._max_bytes} bytes.",
            begin,
            fix="Shorten the text, or see whether line ends are missing.",
        )
        self._skipping = line_end < 0
        return len(data) if line_end < 0 else line_end + 1


def _without_empty_tail(cells: tuple[bytes, ...], columns: int) -> tuple[bytes, ...]:
    """Leave out further cells where they are empty, and the row is full without them."""
    full = len(cells) > columns and cells[columns - 1].strip()
    return cells[:columns] if full and not any(map(bytes.strip, cells[columns:])) else cells


def _looks_like_rows(raw: bytes, delimiter: bytes, columns: int) -> bool:
    """Tell whether the lines inside a quoted text look like rows: a quote was forgotten there."""
    inside = raw.split(b"\n")[1:-2]
    alike = sum(line.count(delimiter) == columns - 1 for line in inside)
    return alike * 10 >= len(inside) * 8


def _folded(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").casefold()


def _columns(count: int) -> str:
    return "one column" if count == 1 else f"{count} columns"
