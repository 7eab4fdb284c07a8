"""The grammar of one record of a delimited file (RFC 4180 and its relatives), over bytes.

Line ends are LF here: they are normalised before. Every pattern is possessive, so that matching
is linear whatever the bytes are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.ingest.dataset import Quoting

QUOTE = b'"'
_INSIDE = {
    Quoting.DOUBLED: rb'(?:[^"]++|"")*+',
    # The doubled quote is read too: it means nothing else, and some writers mix both.
    Quoting.BACKSLASH: rb'(?:[^"\\]++|\\[\x00-\xff]|"")*+',
}
"""What may stand between the quotes of a cell."""

_ESCAPED = {
    Quoting.DOUBLED: re.compile(rb'(")"'),
    Quoting.BACKSLASH: re.compile(rb'\\(["\\])|"(")'),
}
"""How a quote, and what escapes it, is written between quotes."""

_MOST_QUOTES = 64
"""Quotes in a malformed line above which nobody can tell where it ends; this also bounds the
search for what may close each."""


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
    """How the cells of one file are delimited and quoted."""

    def __init__(self, delimiter: str, quoting: Quoting) -> None:
        """Compile the patterns.

        Args:
            delimiter: One ASCII character.
            quoting: DOUBLED, BACKSLASH or NONE.
        """
        self.delimiter = delimiter.encode()
        self.quoting = quoting
        d = re.escape(self.delimiter)
        # A tab delimits in a tab-separated file and is a blank in any other.
        blanks = rb"[ ]*+" if delimiter == "\t" else rb"[ \t]*+"
        begin = rb'[^"' + d + rb"\n ]" if delimiter == "\t" else rb'[^"' + d + rb"\n \t]"
        inside = _INSIDE.get(quoting, b"")
        # A cell that begins with a quote must also end with one; any other may hold some.
        quoted = blanks + rb'"' + inside + rb'"' + blanks
        lax = blanks + rb"(?:" + begin + rb"[^" + d + rb"\n]*+)?"
        cell = rb"(?:%b(?=%b|\n)|%b(?=%b|\n))" % (quoted, d, lax, d)
        self._record = re.compile(rb"(?:%b%b)*+%b\n" % (cell, d, cell))
        self._open = re.compile(
            rb'(?:%b%b)*+(?:%b"%b(?:"%b)?|%b)\Z' % (cell, d, blanks, inside, blanks, lax)
        )
        self._cell = re.compile(
            rb'(?:%b"(%b)"%b|([^%b\n]*+))(?=%b|\n)' % (blanks, inside, blanks, d, d)
        )
        self._opening = re.compile(rb'(?:%b(?!")[^%b]*+%b)*+%b"' % (blanks, d, d, blanks))
        self._closing = re.compile(rb'"%b(?=%b|\Z)' % (blanks, d))

    def match(self, data: bytes, position: int = 0) -> Record | None:
        """Read the record that begins at `position`.

        Returns:
            None where it is not well formed, or does not end within `data`.
        """
        if self.quoting is Quoting.NONE:
            end = data.find(b"\n", position)
            cells = tuple(data[position:end].split(self.delimiter))
            return None if end < 0 else Record(cells=cells, end=end + 1, stray_quote=False)
        match = self._record.match(data, position)
        return None if match is None else self._resolve(data, position, match.end())

    def is_open(self, data: bytes, position: int) -> bool:
        """Tell whether what begins at `position` may become a record when more data comes."""
        if self.quoting is Quoting.NONE:
            return data.find(b"\n", position) < 0
        return self._open.match(data, position) is not None

    def is_closed(self, line: bytes) -> bool:
        """Tell whether a malformed line ends by itself, so that the next one is a new record.

        Args:
            line: A physical line without its line end.
        """
        return (
            line.count(QUOTE) % 2 == 0
            and line.count(QUOTE) <= _MOST_QUOTES
            and self._is_row_to_the_forgiving(line)
        )

    def _is_row_to_the_forgiving(self, line: bytes) -> bool:
        """Tell whether a line is a row where any quote closes that a delimiter follows."""
        closings = [(found.start(), found.end()) for found in self._closing.finditer(line)]
        begins = [0]
        seen = {0}
        while begins:
            opening = self._opening.match(line, begins.pop())
            if opening is None:
                return True
            ends = {end for start, end in closings if start >= opening.end()}
            if len(line) in ends:
                return True
            further = {end + 1 for end in ends} - seen
            seen |= further
            begins.extend(further)
        return False

    def _resolve(self, data: bytes, position: int, end: int) -> Record:
        cells: list[bytes] = []
        stray = False
        while position < end:
            cell = self._cell.match(data, position)
            if cell is None:  # pragma: no cover  # the record matched, so its cells do
                raise AssertionError
            quoted, plain = cell.groups()
            if quoted is not None:
                escaped = _ESCAPED[self.quoting]
                cells.append(
                    escaped.sub(lambda found: found[found.lastindex or 0], quoted)
                    if QUOTE in quoted or b"\\" in quoted
                    else quoted
                )
            else:
                cells.append(plain)
                stray = stray or QUOTE in plain
            position = cell.end() + 1
        return Record(cells=tuple(cells), end=end, stray_quote=stray)


def write(cells: tuple[bytes, ...], delimiter: bytes) -> bytes:
    """Return the canonical record of `cells`, every one quoted."""
    quoted = (QUOTE + cell.replace(b'"', b'""') + QUOTE for cell in cells)
    return delimiter.join(quoted) + b"\n"
