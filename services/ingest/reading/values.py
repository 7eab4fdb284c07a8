"""Rows of typed values, as JSON and Parquet have them, become canonical records.

Knows neither format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from services.ingest.dataset import Dialect, Format, Limits, Quoting, RecordLayout
from services.ingest.finding import Code
from services.ingest.reading.columns import Columns
from services.ingest.reading.record_writer import RecordWriter
from services.ingest.reading.records import write

_DELIMITER = ","
LABEL_SEPARATOR = "\x1f"
"""Stands between labels in canonical records: the unit separator, which no label holds."""


class Misfit(Exception):
    """A value that cannot be a text or a label."""

    def __init__(
        self, code: Code, message: str, *, fix: str, column: str = "", is_malformed: bool = True
    ) -> None:
        """Say what is wrong.

        Args:
            code: Of the finding.
            message: The same in words.
            fix: What to do about it.
            column: `text` or `label` where one of them is to blame.
            is_malformed: Whether the row is badly written, rather than not labelled.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix
        self.column = column
        self.is_malformed = is_malformed


class ValueWriter:
    """Writes rows of values; the first cell is the text, the second the labels."""

    def __init__(
        self, *, columns: Columns, label_separator: str, limits: Limits, out: RecordWriter
    ) -> None:
        """Begin at the first row.

        Args:
            columns: Which value is what.
            label_separator: What stands between the labels of one string, or "".
            limits: What is too much.
            out: Receives the records and what is wrong with rows.
        """
        self._columns = columns
        self._separator = label_separator
        self._max_bytes = limits.max_record_bytes
        self._out = out
        self._has_lists = False
        self._further = [n for _, n in columns.kept]
        if columns.split is not None:
            self._further.append(columns.split)

    def add(self, values: Sequence[object], raw: bytes | str | None = None) -> None:
        """Keep a row or drop it with a finding.

        Args:
            values: One for each column of the file.
            raw: The row as it stands in the file; None makes it up from the values.
        """
        try:
            record = self._record(values)
        except Misfit as misfit:
            if raw is None:
                raw = json.dumps([_shown(value) for value in values[:10]], ensure_ascii=False)
            self._out.drop(
                misfit.code,
                misfit.message,
                raw,
                fix=misfit.fix,
                column=misfit.column,
                is_malformed=misfit.is_malformed,
            )
        else:
            self._out.keep(record)

    def finish(self) -> None:
        """Say what was written: whether a cell holds several labels, only all rows tell."""
        kept = self._columns.kept
        self._out.describe(
            RecordLayout(
                delimiter=_DELIMITER,
                columns=2 + len(self._further),
                label_separator=LABEL_SEPARATOR if self._has_lists or self._separator else "",
                split=None if self._columns.split is None else 2 + len(kept),
                kept=tuple((name, 2 + n) for n, (name, _) in enumerate(kept)),
            )
        )

    def dialect(self, format_: Format) -> Dialect:
        """Return how the file was read."""
        columns = self._columns
        return Dialect(
            format=format_,
            quoting=Quoting.DETECT,
            columns=columns.names,
            text_column=columns.names[columns.text],
            label_column=columns.names[columns.labels],
            split_column="" if columns.split is None else columns.names[columns.split],
            kept_columns=tuple(columns.names[n] for _, n in columns.kept),
            ignored_columns=tuple(columns.names[n] for n in columns.ignored),
            assumed=tuple(columns.assumed),
        )

    def _record(self, values: Sequence[object]) -> bytes:
        text = _text(values[self._columns.text], self._columns.names[self._columns.text])
        cells = [text, self._labels(values[self._columns.labels])]
        cells += [_further(values[n], self._columns.names[n]) for n in self._further]
        if any("\0" in cell for cell in cells):
            raise Misfit(
                Code.NUL_BYTE,
                "The row holds a NUL character.",
                fix="Remove it: no text needs one.",
            )
        try:
            record = write(tuple(cell.encode() for cell in cells), _DELIMITER.encode())
        except UnicodeEncodeError:
            raise Misfit(
                Code.BAD_ENCODING,
                "The row holds half a character (a lone surrogate).",
                fix="Write the row anew; whatever cut the text has cut a character.",
            ) from None
        if len(record) > 2 * self._max_bytes:
            raise Misfit(
                Code.LINE_TOO_LONG,
                f"The row is longer than {self._max_bytes} bytes.",
                fix="Shorten the text.",
            )
        return record

    def _labels(self, value: object) -> str:
        name = self._columns.names[self._columns.labels]
        if isinstance(value, list):
            self._has_lists = True
            return LABEL_SEPARATOR.join(_label(label, name) for label in value)
        if not self._separator or not isinstance(value, str):
            return _label(value, name)
        parts = (part.strip() for part in value.split(self._separator))
        return LABEL_SEPARATOR.join(_label(part, name) for part in parts if part)


def _shown(value: object) -> str | None:
    if isinstance(value, bytes):
        return value[:80].decode("utf-8", "replace")
    return None if value is None else str(value)[:80]


def _is_missing(value: object) -> bool:
    """Tell whether there is no value: NaN is what is missing in a column of numbers."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: object, name: str) -> str:
    if _is_missing(value):
        # An empty text, which is found later as those of every format are.
        return ""
    return _scalar(value, name, "text")


def _label(value: object, name: str) -> str:
    label = "" if _is_missing(value) else _scalar(value, name, "label")
    if not label.strip():
        # Told here: where labels come as lists, an empty cell means that there are none.
        raise Misfit(
            Code.EMPTY_LABEL,
            "The label is empty.",
            fix="Write a label, or remove the row; a row without any label is `[]`.",
            column="label",
            is_malformed=False,
        )
    if LABEL_SEPARATOR in label:
        raise Misfit(
            Code.MALFORMED_JSON,
            "The label holds the control character U+001F.",
            fix="Remove it.",
            column="label",
        )
    return label


def _scalar(value: object, name: str, column: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        kind = "a list" if isinstance(value, list) else "an object"
        wanted = "a string, or a list of strings" if column == "label" else "a string"
        raise Misfit(
            Code.MALFORMED_JSON,
            f"`{name}` is {kind}, not {wanted}.",
            fix=f"Write {wanted}; or declare another {column}_column.",
            column=column,
        )
    return _decoded(value, name, column) if isinstance(value, bytes) else str(value)


def _decoded(value: bytes, name: str, column: str) -> str:
    """Read bytes as text: old writers of Parquet mark no column as such."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Misfit(
            Code.BAD_ENCODING,
            f"`{name}` holds bytes that are not UTF-8.",
            fix="Write texts as UTF-8; leave a column out that holds none.",
            column=column,
        ) from None


def _further(value: object, name: str) -> str:
    if _is_missing(value):
        return ""
    if isinstance(value, bytes):
        return _decoded(value, name, "")
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "true" if value is True else "false" if value is False else str(value)
