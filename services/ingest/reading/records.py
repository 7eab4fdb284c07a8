"""The grammar of a delimited file (RFC 4180) as regular expressions over bytes.

Line ends are LF here: the front check normalises them before. Every pattern is possessive, so
that matching is linear whatever the bytes are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

QUOTE = b'"'
_QUOTED = rb'"(?:[^"]++|"")*+"'
_QUOTED_ON_ONE_LINE = rb'"(?:[^"\n]++|"")*+"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One well-formed record, whatever the number of its columns."""

    cells: tuple[bytes, ...]
    """Values, quotes resolved; blanks around a quoted cell are not part of it."""

    end: int
    """Position after the record's line end."""

    stray_quote: bool
    """Whether a cell that does not begin with a quote holds one."""


class Grammar:
    """The patterns of one delimiter."""

    def __init__(self, delimiter: bytes, columns: int = 2) -> None:
        """Compile the patterns.

        Args:
            delimiter: One byte.
            columns: How many columns a regular record has.
        """
        self.delimiter = delimiter
        d = re.escape(delimiter)
        # A tab delimits in a tab-separated file and is a blank in any other.
        blank = rb"[ ]" if delimiter == b"\t" else rb"[ \t]"
        plain = rb'[^"' + d + rb"\n]*+"
        simple = rb"(?:" + plain + rb"|" + _QUOTED_ON_ONE_LINE + rb")"
        strict = rb"(?:" + plain + rb"|" + _QUOTED + rb")"
        more = str(columns - 1).encode()
        self.run = re.compile(rb"(?:%b(?:%b%b){%b}\n)*+" % (simple, d, simple, more))
        """As many records as possible that have the right columns, each on one line."""

        self.regular = re.compile(rb"%b(?:%b%b){%b}\n" % (strict, d, strict, more))
        """One record that has the right columns and may span lines."""

        # A cell that begins with a quote must also end with one; any other may hold some.
        begin = rb'[^"' + d + rb"\n \t]" if blank == rb"[ \t]" else rb'[^"' + d + rb"\n ]"
        lax = blank + rb"*+(?:" + begin + rb"[^" + d + rb"\n]*+)?"
        quoted = blank + rb"*+" + _QUOTED + blank + rb"*+"
        cell = rb"(?:" + quoted + rb"(?=" + d + rb"|\n)|" + lax + rb"(?=" + d + rb"|\n))"
        self._record = re.compile(rb"(?:%b%b)*+%b\n" % (cell, d, cell))
        self._cell = re.compile(
            rb"(?:" + blank + rb"*+(" + _QUOTED + rb")" + blank + rb"*+|([^" + d + rb"\n]*+))"
            rb"(?=" + d + rb"|\n)"
        )
        # What a forgiving reader takes for a row: a quote closes where a delimiter follows.
        closing = blank + rb'*+"[^\n]*?"' + blank + rb"*+"
        self._forgiving = re.compile(
            rb"(?:(?:%b|%b)%b)*(?:%b|%b)" % (closing, lax, d, closing, lax)
        )

    def match(self, data: bytes, position: int = 0) -> Record | None:
        """Read the record that begins at `position`.

        Returns:
            None where it is not well formed, or does not end within `data`.
        """
        match = self._record.match(data, position)
        if match is None:
            return None
        cells: list[bytes] = []
        stray = False
        while True:
            cell = self._cell.match(data, position)
            if cell is None:  # pragma: no cover  # the record matched, so its cells do
                return None
            quoted, plain = cell.groups()
            if quoted is not None:
                cells.append(quoted[1:-1].replace(b'""', b'"'))
            else:
                cells.append(plain)
                stray = stray or QUOTE in plain
            position = cell.end() + 1
            if position >= match.end():
                return Record(cells=tuple(cells), end=match.end(), stray_quote=stray)

    def is_closed(self, line: bytes) -> bool:
        """Tell whether a malformed line ends by itself, so that the next one is a new record.

        Args:
            line: A physical line without its line end.
        """
        return (
            line.count(QUOTE) % 2 == 0
            and line.count(QUOTE) <= _MOST_QUOTES
            and self._forgiving.fullmatch(line) is not None
        )

    def write(self, cells: tuple[bytes, ...]) -> bytes:
        """Return the record of `cells`, every one quoted."""
        quoted = (QUOTE + cell.replace(b'"', b'""') + QUOTE for cell in cells)
        return self.delimiter.join(quoted) + b"\n"


_MOST_QUOTES = 64
"""Quotes in a malformed line above which nobody can tell where it ends; this also bounds the
only pattern that backtracks."""
