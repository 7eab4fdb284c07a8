"""Finds the records of a block of bytes with array arithmetic, about a gigabyte a second.

Knows where records end and which of them are beyond doubt; what the others are is the business
of `records`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.ingest.dataset import Quoting

BAD_BYTE = 0xFF
"""Stands in decoded text for what could not be decoded; UTF-8 has no such byte."""

MOST_LINES = 10
"""Lines of one record from which it is asked whether they are rows themselves."""

_CASE = np.uint8(ord("a") - ord("A"))
"""The bit in which a letter differs from its capital, in most scripts of two bytes too."""

_NUL, _NEWLINE, _QUOTE, _BACKSLASH = b'\0\n"\\'
_DOUBTFUL = {
    Quoting.DOUBLED: (_NUL, BAD_BYTE),
    # An escaped quote is no quote, so nothing that holds a backslash is taken as it looks.
    Quoting.BACKSLASH: (_NUL, BAD_BYTE, _BACKSLASH),
    # To be canonical, a cell that holds quotes has to be quoted.
    Quoting.NONE: (_NUL, BAD_BYTE, _QUOTE),
}
"""Bytes that make a record doubtful wherever they stand."""

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a record looks like that is beyond doubt."""

    delimiter: int
    """A byte."""

    quoting: Quoting
    columns: int
    max_bytes: int
    """Length of a record, its line end included, above which it is doubtful."""

    header: bytes
    """What names the columns, line end included; b"" where nothing does. A record that differs
    from it in case only is doubtful."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One way to read a block."""

    ends: Positions
    """Position after each record's line end; what comes after the last one is incomplete."""

    lines: Positions
    """Physical lines from the beginning of the block to each end."""

    doubtful: Positions
    """Indexes of the records that are not beyond doubt, ascending; `len(ends)` is what is
    incomplete."""

    @property
    def is_tail_doubtful(self) -> bool:
        """Whether what is incomplete is not beyond doubt either."""
        return len(self.doubtful) > 0 and int(self.doubtful[-1]) == len(self.ends)

    def record_at(self, position: int) -> int:
        """Return the index of the record that holds the byte at `position`."""
        return int(self.ends.searchsorted(position, "right"))

    def next_doubtful(self, record: int) -> int:
        """Return the index of the first doubtful record from `record` on.

        Where there is none, that of what is incomplete.
        """
        found = self.doubtful.searchsorted(record)
        return int(self.doubtful[found]) if found < len(self.doubtful) else len(self.ends)


class Block:
    """The special bytes of a block, and both ways to read it.

    Whether a byte stands between quotes depends on the number of quotes before it. One quote
    that is none turns this round for the rest of the block. There are two readings only, so
    both are kept, and who finds such a quote goes on with the other.
    """

    def __init__(self, data: bytes, layout: Layout) -> None:
        """Find the special bytes.

        Args:
            data: Begins with a record.
            layout: What its records look like.
        """
        self._layout = layout
        self._bytes = np.frombuffer(data, np.uint8)
        special = self._bytes == layout.delimiter
        special |= self._bytes == _NEWLINE
        if layout.quoting is not Quoting.NONE:
            special |= self._bytes == _QUOTE
        self._at = np.flatnonzero(special)
        self._kinds = self._bytes[self._at]
        self._is_quote = self._kinds == _QUOTE
        # In eight bits: only whether the count is odd matters.
        self._parity = np.cumsum(self._is_quote, dtype=np.uint8) & 1
        self._anywhere = [
            np.flatnonzero(self._bytes == byte)
            for byte in _DOUBTFUL[layout.quoting]
            if byte in data
        ]
        self._readings: dict[int, Reading] = {}

    def parity(self, position: int) -> int:
        """Return 1 where the number of quotes before the line end at `position` is odd."""
        return int(self._parity[self._at.searchsorted(position)])

    def reading(self, parity: int) -> Reading:
        """Return how the block reads from a place on that has an even number of quotes before it.

        Args:
            parity: 1 where that number, counted from the beginning of the block, is odd.
        """
        if parity not in self._readings:
            self._readings[parity] = self._read(parity)
        return self._readings[parity]

    def _read(self, parity: int) -> Reading:
        outside = self._parity == parity
        is_newline = self._kinds == _NEWLINE
        last = np.flatnonzero(is_newline & outside)
        ends = self._at[last] + 1
        is_delimiter = (self._kinds == self._layout.delimiter) & outside
        delimiters = np.cumsum(is_delimiter, dtype=np.int32)[last]
        wrong = np.diff(delimiters, prepend=0) != self._layout.columns - 1
        sizes = np.diff(ends, prepend=0)
        wrong |= sizes > self._layout.max_bytes
        lines = np.cumsum(is_newline, dtype=np.int64)[last]
        wrong |= np.diff(lines, prepend=0) >= MOST_LINES
        doubtful = [
            np.flatnonzero(wrong),
            self._headers(ends, sizes),
            ends.searchsorted(self._misplaced_quotes(outside), "right"),
            *(ends.searchsorted(found, "right") for found in self._anywhere),
        ]
        return Reading(
            ends=ends,
            lines=lines,
            doubtful=np.unique(np.concatenate(doubtful)),
        )

    def _headers(self, ends: Positions, sizes: Positions) -> Positions:
        """Return the indexes of the records that may be the header, in upper or lower case."""
        header = np.frombuffer(self._layout.header, np.uint8)
        as_long = np.flatnonzero(sizes == len(header))
        places = (ends[as_long] - len(header))[:, None] + np.arange(len(header))
        alike = (self._bytes[places] | _CASE) == header | _CASE
        found: Positions = as_long[alike.all(axis=1)]
        return found

    def _misplaced_quotes(self, outside: NDArray[np.bool_]) -> Positions:
        """Return where a quote opens within a cell, or closes before its end."""
        at = self._at[self._is_quote]
        closes = outside[self._is_quote]
        neighbour = self._bytes[
            # At either end of the block the quote is its own neighbour, and no offence.
            np.clip(np.where(closes, at + 1, at - 1), 0, len(self._bytes) - 1)
        ]
        placed = neighbour == self._layout.delimiter
        placed |= neighbour == _NEWLINE
        # Two quotes in a row inside quotes are one that is doubled.
        placed |= neighbour == _QUOTE
        misplaced: Positions = at[~placed]
        return misplaced
