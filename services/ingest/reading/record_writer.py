"""Writes canonical records and where each stood, and keeps count.

No row is kept or dropped but here. Knows no format.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.ingest.dataset import Limits, RecordLayout, Split
from services.ingest.finding import Code, Finding, FindingWriter, Refused, excerpt
from services.ingest.reading.record_files import RecordFiles


class RecordWriter:
    """The canonical records of one file, and what is said about the others."""

    def __init__(
        self,
        *,
        split: Split,
        limits: Limits,
        files: RecordFiles,
        findings: FindingWriter,
    ) -> None:
        """Begin at the first line.

        Args:
            split: Which file it is.
            limits: What is too much.
            files: Receive the canonical records, and where each stood.
            findings: Receives what is wrong with single rows.
        """
        self._split = split
        self._limits = limits
        self._files = files
        self._findings = findings
        self._passed_rows = self._passed_lines = 0
        self._first_malformed: Finding | None = None
        self._malformed = 0
        self.line = 1
        """Physical line that comes next."""

        self.rows = 0
        """Data rows so far."""

        self.kept = 0
        """Rows that were kept."""

        self.blank_lines = 0

    def keep(
        self,
        run: bytes | memoryview,
        *,
        records: int = 1,
        lines: int = 1,
        tall: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Write canonical records that stood one after another.

        Args:
            run: The records.
            records: How many.
            lines: Physical lines they stood on.
            tall: Index, and lines beyond the first, of each that stood on several.

        Raises:
            Refused: Where the file has too many rows.
        """
        if self._files.is_full:
            self._files.next()
            self._passed_rows = self._passed_lines = 0
        first = self._files.count
        rows, passed = self.rows + 1 - first, self.line - first
        if rows != self._passed_rows or passed != self._passed_lines:
            self._place(first, rows - self._passed_rows, passed - self._passed_lines)
            self._passed_rows = rows
        for index, extra in tall:
            # What the last one moves is seen when the next run begins.
            if index < records - 1:
                self._place(first + index + 1, 0, extra)
        self._files.write(run, records)
        self.kept += records
        self.line += lines
        self._count(records)

    def describe(self, layout: RecordLayout) -> None:
        """Say what all the records look like, as soon as it is known."""
        self._files.describe(layout)

    def drop(
        self,
        code: Code,
        message: str,
        raw: bytes | str,
        *,
        fix: str,
        lines: int = 1,
        column: str = "",
        is_malformed: bool = True,
    ) -> None:
        """Leave out a row.

        Args:
            code: What is wrong with it.
            message: The same in words.
            raw: The row, or its beginning.
            fix: What to do about it.
            lines: Physical lines it stands on.
            column: `text` or `label` where one of them is to blame.
            is_malformed: Whether it counts against the file.

        Raises:
            Refused: Where the file has too many rows.
        """
        finding = self._finding(code, message, raw, fix=fix, column=column)
        self._findings.add(finding)
        if is_malformed:
            self._first_malformed = self._first_malformed or finding
            self._malformed += 1
        self.line += lines
        self._count(1)

    def note(self, code: Code, message: str, raw: bytes | str, *, fix: str) -> None:
        """Say something about the row that comes next."""
        self._findings.add(self._finding(code, message, raw, fix=fix))

    def refusal(self, code: Code, message: str, raw: bytes, *, fix: str) -> Refused:
        """Return the refusal of the file for the row that comes next."""
        return Refused(self._finding(code, message, raw, fix=fix))

    def skip_header(self, lines: int) -> None:
        """Pass over the header and what stands above it."""
        self.line += lines

    def skip_blank_lines(self, lines: int) -> None:
        """Pass over lines that hold nothing."""
        self.blank_lines += lines
        self.line += lines

    def check_share(self) -> None:
        """Refuse a file of which too much is malformed.

        Raises:
            Refused: Where the share of malformed rows is over the limit.
        """
        first = self._first_malformed
        if first is None or self._malformed <= self._limits.max_malformed_share * self.rows:
            return
        raise Refused(
            Finding(
                code=Code.TOO_MANY_MALFORMED_ROWS,
                message=f"{self._malformed} of {self.rows} rows are malformed, the first on line "
                f"{first.line}: {first.message}",
                line=first.line,
                row=first.row,
                excerpt=first.excerpt,
                fix=first.fix,
                count=self._malformed,
            )
        )

    def _place(self, record: int, rows: int, lines: int) -> None:
        self._files.place(record, rows, lines)
        self._passed_lines += lines

    def _finding(
        self, code: Code, message: str, raw: bytes | str, *, fix: str, column: str = ""
    ) -> Finding:
        return Finding(
            code=code,
            message=message,
            split=self._split,
            line=self.line,
            row=self.rows + 1,
            column=column,
            excerpt=excerpt(raw),
            fix=fix,
            count=1,
        )

    def _count(self, rows: int) -> None:
        self.rows += rows
        if self.rows > self._limits.max_rows:
            raise Refused(
                Finding(
                    code=Code.TOO_MANY_ROWS,
                    message=f"The file has more than {self._limits.max_rows} rows.",
                    line=self.line,
                    fix="Upload fewer rows; a sample usually trains as well.",
                )
            )
