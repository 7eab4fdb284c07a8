"""Copies the regular records of a file in long runs and judges all others one by one.

Regular is a record of exactly two columns with balanced quotes. Nearly all records are, and
they never become Python objects.
"""

from __future__ import annotations

from typing import BinaryIO, TextIO

from services.ingest.dataset import Limits, Split
from services.ingest.finding import Code, Finding, FindingWriter, Refused, excerpt
from services.ingest.reading.dialect import Detected
from services.ingest.reading.records import QUOTE, Grammar

_MULTI_LINE_SUSPICION = 10
"""Lines of one quoted cell from which it is asked whether they are rows themselves."""


class RecordScanner:
    """Copies regular records to the scratch file in long runs and judges all others."""

    def __init__(
        self,
        *,
        split: Split,
        detected: Detected,
        limits: Limits,
        records: BinaryIO,
        positions: TextIO,
        findings: FindingWriter,
    ) -> None:
        """Begin after the header.

        Args:
            split: Which file it is.
            detected: How it is read.
            limits: What is too much.
            records: Receives the regular records.
            positions: Receives where each stood, as `Checked.positions` says.
            findings: Receives what is wrong with single rows.
        """
        self._split = split
        self._limits = limits
        self._grammar = Grammar(detected.dialect.delimiter.encode())
        self._records = records
        self._positions = positions
        self._findings = findings
        self._passed_rows = self._passed_lines = 0
        self.line = detected.skip_lines + 1
        self.rows = 0
        self.kept = 0
        self.malformed = 0
        self.blank_lines = 0
        self._first_malformed: Finding | None = None

    def scan(self, data: bytes, *, final: bool) -> int:
        """Consume whole records from the beginning of `data`.

        Returns:
            How many bytes were consumed; the rest waits for the next call.
        """
        position = 0
        while position < len(data):
            run = self._grammar.run.match(data, position)
            end = run.end() if run else position
            if end > position:
                count = data.count(b"\n", position, end)
                self._keep(data, position, end, records=count, lines=count)
                position = end
                continue
            record = self._grammar.regular.match(data, position)
            if record:
                end = record.end()
                lines = data.count(b"\n", position, end)
                self._suspect(data, position, end, lines)
                self._keep(data, position, end, records=1, lines=lines)
                position = end
                continue
            following = self._judge(data, position, final=final)
            if following is None:
                break
            position = following
        return position

    def _keep(self, data: bytes, start: int, end: int, *, records: int, lines: int) -> None:
        rows = self.rows + 1 - self.kept
        passed = self.line - self.kept
        if rows != self._passed_rows or passed != self._passed_lines:
            self._positions.write(
                f"{self.kept},{rows - self._passed_rows},{passed - self._passed_lines}\n"
            )
            self._passed_rows, self._passed_lines = rows, passed
        self._records.write(memoryview(data)[start:end])
        self.kept += records
        self.rows += records
        self.line += lines
        if self.rows > self._limits.max_rows:
            raise Refused(
                Finding(
                    code=Code.TOO_MANY_ROWS,
                    message=f"The file has more than {self._limits.max_rows} rows.",
                    line=self.line,
                    fix="Upload fewer rows; a sample usually trains as well.",
                )
            )

    def _judge(self, data: bytes, position: int, *, final: bool) -> int | None:
        """Decide about a record that is not regular; None asks for more data."""
        line_end = data.find(b"\n", position)
        if line_end < 0:
            if len(data) - position > self._limits.max_record_bytes:
                raise self._too_long(data[position:])
            return None
        line = data[position:line_end]
        if not line.strip():
            self.blank_lines += 1
            self.line += 1
            return line_end + 1
        record = self._grammar.match(data, position)
        if record is None:
            if not final and len(data) - position <= self._limits.max_record_bytes:
                return None
            return self._judge_broken(line, line_end)
        lines = data.count(b"\n", position, record.end)
        if len(record.cells) != 2:  # noqa: PLR2004  # text and label
            self._drop(
                code=Code.WRONG_COLUMN_COUNT,
                message=f"The row has {_columns(len(record.cells))}, not two.",
                line=line,
                fix="Quote a text that holds the delimiter."
                if len(record.cells) > 1
                else "Write the text, the delimiter, the label.",
                lines=lines,
            )
            return record.end
        if record.stray_quote:
            self._note(
                Code.STRAY_QUOTE,
                "A quote inside a text that is not quoted was read as it stands.",
                line,
                fix='To be safe, quote the whole text and double the quote inside: "".',
            )
        canonical = self._grammar.write(record.cells)
        self._keep(canonical, 0, len(canonical), records=1, lines=lines)
        return record.end

    def _judge_broken(self, line: bytes, line_end: int) -> int:
        """Drop a malformed line that ends by itself; refuse where nobody knows the end."""
        fix = 'Double every quote inside a quoted text: "He said ""hi"" to me",label.'
        if b'\\"' in line:
            fix = 'Quotes are escaped by a backslash here; write them doubled instead: "".'
        if self._grammar.is_closed(line):
            self._drop(
                code=Code.MALFORMED_QUOTES,
                message="A quote inside a quoted text is not doubled.",
                line=line,
                fix=fix,
                lines=1,
            )
            return line_end + 1
        raise Refused(
            Finding(
                code=Code.UNTERMINATED_QUOTE,
                message=f"The quote that opens on line {self.line} is never closed properly: "
                "everything after it would be read as one text.",
                line=self.line,
                row=self.rows + 1,
                excerpt=excerpt(line),
                fix=f"Close the quote on line {self.line}, or remove it. {fix}",
            )
        )

    def _drop(self, *, code: Code, message: str, line: bytes, fix: str, lines: int) -> None:
        finding = Finding(
            code=code,
            message=message,
            split=self._split,
            line=self.line,
            row=self.rows + 1,
            excerpt=excerpt(line),
            fix=fix,
            count=1,
        )
        self._first_malformed = self._first_malformed or finding
        self._findings.add(finding)
        self.malformed += 1
        self.rows += 1
        self.line += lines

    def _note(self, code: Code, message: str, line: bytes, *, fix: str) -> None:
        self._findings.add(
            Finding(
                code=code,
                message=message,
                split=self._split,
                line=self.line,
                row=self.rows + 1,
                excerpt=excerpt(line),
                fix=fix,
                count=1,
            )
        )

    def _suspect(self, data: bytes, start: int, end: int, lines: int) -> None:
        """Warn of a quoted text whose lines look like rows: a quote was forgotten there."""
        if lines < _MULTI_LINE_SUSPICION:
            return
        inside = data[start:end].split(b"\n")[1:-2]
        delimiter = self._grammar.delimiter
        alike = sum(line.count(delimiter) == 1 for line in inside)
        if alike * 10 >= len(inside) * 8:
            self._note(
                Code.SUSPICIOUS_QUOTE,
                f"A quoted text runs over {lines} lines that look like rows themselves.",
                data[start : data.index(b"\n", start)],
                fix=f"Look whether the quote on line {self.line} was meant to be closed there.",
            )

    def _too_long(self, rest: bytes) -> Refused:
        limit = self._limits.max_record_bytes
        quoted = rest.lstrip()[:1] == QUOTE
        return Refused(
            Finding(
                code=Code.UNTERMINATED_QUOTE if quoted else Code.LINE_TOO_LONG,
                message=f"The row that begins on line {self.line} is longer than {limit} bytes.",
                line=self.line,
                row=self.rows + 1,
                excerpt=excerpt(rest),
                fix="Close the quote it opens with."
                if quoted
                else "Shorten the text, or see whether the file has line ends at all.",
            )
        )

    def check_share(self) -> None:
        """Refuse a file of which too much is malformed.

        Raises:
            Refused: Where the share of malformed rows is over the limit.
        """
        first = self._first_malformed
        if first is None or self.malformed <= self._limits.max_malformed_share * self.rows:
            return
        raise Refused(
            Finding(
                code=Code.TOO_MANY_MALFORMED_ROWS,
                message=f"{self.malformed} of {self.rows} rows are malformed, the first on line "
                f"{first.line}: {first.message}",
                line=first.line,
                row=first.row,
                excerpt=first.excerpt,
                fix=first.fix,
                count=self.malformed,
            )
        )


def _columns(count: int) -> str:
    return "one column" if count == 1 else f"{count} columns"
