"""Cleans texts and labels while they are staged, and tells what was done and what looks wrong.

SQL selects the rows that cleaning could change, by cheap tests; only these are handed to Python,
where the one implementation is. Of all others a property test proves that they would stay.

A cleaned text comes back with its marks in front, as one character: so a row is looked at once.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from services.common.cleaning import BLANKS, Cleaner, Cleaning, Replacement, repair
from services.ingest.dataset import Split
from services.ingest.finding import Code, Finding
from services.ingest.workbench import Workbench

# Marks are the bits of `Step`, and from here on what was seen and left.
_MOJIBAKE = 256
_REPLACEMENT_CHARACTER = 512
_CONTROL_CHARACTERS = 1024

# What UTF-8 looks like when it was read as Windows-1252: the first byte of a character, then
# another of it. Cheap and too broad; ftfy decides.
_MISREAD = (
    "[\u00c2-\u00f4]["
    "\u0080-\u00bf"
    "\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc"
    "\u2013\u2014\u2018-\u201a\u201c-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]"
)

# An empty text has the code -1. Of ASCII, only blanks at the ends can go; where these are spaces,
# as after the comma of `text, label`, SQL takes them by itself: chr(2) is the mark of TRIMMED.
_MACROS = r"""
CREATE MACRO beyond_ascii(t) AS strlen(t) <> length(t);
CREATE MACRO unsettled(t) AS
  CASE WHEN beyond_ascii(t)
    THEN regexp_matches(t, getvariable('unsettled'))
    ELSE ord(t) BETWEEN 0 AND 32 OR ends_with(t, ' ')
      OR (getvariable('blanks') AND (ends_with(t, chr(9)) OR ends_with(t, chr(10))
        OR ends_with(t, chr(11)) OR ends_with(t, chr(12)) OR ends_with(t, chr(13))))
  END;
CREATE MACRO declared(t) AS
  (getvariable('fix_text') AND beyond_ascii(t))
  OR (getvariable('strip_html') AND (contains(t, '<') OR contains(t, '&')))
  OR (getvariable('replace_urls') AND (contains(t, '://') OR contains(lower(t), 'www.')))
  OR (getvariable('replace_names') AND contains(t, '@'))
  OR (getvariable('remove_symbols') AND (beyond_ascii(t) OR contains(t, '^') OR contains(t, '`')));
CREATE MACRO only_spaced(t) AS
  regexp_full_match(t, ' *([!-~]([\x00-\x7f]*[!-~])? *)?');
CREATE MACRO marked_label(t) AS CASE
  WHEN NOT unsettled(t) THEN NULL
  WHEN only_spaced(t) THEN concat(chr(2), trim(t))
  ELSE clean_label(t)
END;
CREATE MACRO marked_text(t) AS CASE
  WHEN declared(t) THEN clean_text(t)
  WHEN NOT unsettled(t) THEN NULL
  WHEN only_spaced(t) THEN concat(chr(2), trim(t))
  ELSE clean_text(t)
END;
CREATE MACRO marked_result(t, m) AS coalesce(substr(m, 2), t);
CREATE MACRO holds_controls(t) AS
  (getvariable('controls') OR beyond_ascii(t))
  AND regexp_matches(t, '[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}]');
CREATE MACRO marks(t, m) AS (
  coalesce(ord(m) - 1, 0)
  + if(beyond_ascii(marked_result(t, m)) AND contains(marked_result(t, m), chr(65533)), 512, 0)
  + if(holds_controls(marked_result(t, m)), 1024, 0)
)::USMALLINT
"""

_FINDINGS = """
WITH marked AS (
  SELECT split, line, row, 'text' AS "column", text_marks AS marks, before AS excerpt
  FROM staged WHERE text_marks > 3
  UNION ALL
  SELECT split, line, row, 'label', label_marks, label FROM staged WHERE label_marks > 3
),
coded AS (
  SELECT
    *,
    unnest(list_filter([
      if(marks & 248 <> 0, 'cleaned', ''),
      if(marks & 4 <> 0, 'mojibake_repaired', ''),
      if(marks & 256 <> 0, 'mojibake', ''),
      if(marks & 512 <> 0, 'replacement_character', ''),
      if(marks & 1024 <> 0, 'control_characters', '')
    ], lambda code: code <> '')) AS code
  FROM marked
)
SELECT
  split, line, row, "column", code,
  if(code IN ('cleaned', 'mojibake_repaired'), 1, 2) AS severity,
  CASE code
    WHEN 'cleaned' THEN concat('As declared: ', concat_ws(', ',
      if(marks & 8 <> 0, 'markup was read', NULL),
      if(marks & 16 <> 0, 'web addresses were replaced', NULL),
      if(marks & 32 <> 0, 'mail addresses were replaced', NULL),
      if(marks & 64 <> 0, 'user names were replaced', NULL),
      if(marks & 128 <> 0, 'symbols were removed', NULL)), '.')
    WHEN 'mojibake_repaired'
      THEN 'The text had been decoded with the wrong encoding and was repaired.'
    WHEN 'mojibake' THEN 'It looks as if it had been decoded with the wrong encoding.'
    WHEN 'replacement_character'
      THEN 'Characters were lost before the upload: U+FFFD stands in their places.'
    ELSE 'It holds control characters, which nobody sees.'
  END AS message,
  excerpt,
  CASE code
    WHEN 'mojibake' THEN 'Export the file as UTF-8, or declare the cleaning step fix_text.'
    WHEN 'replacement_character' THEN 'Export the file from its source again, as UTF-8.'
    WHEN 'control_characters' THEN 'Remove them where the file comes from.'
    ELSE ''
  END AS fix,
  1 AS count
FROM coded
"""

_COUNTS = """
SELECT
  split,
  count(*) FILTER (text_marks & 1 <> 0 OR label_marks & 1 <> 0),
  count(*) FILTER (text_marks & 2 <> 0 OR label_marks & 2 <> 0)
FROM staged WHERE text_marks > 0 OR label_marks > 0 GROUP BY split ORDER BY split
"""

_BLOCK_BYTES = 1 << 20
_SEARCHERS = 2
"""Threads that search a file: as many as DuckDB has by default, which waits meanwhile."""


def prepare(bench: Workbench, cleaning: Cleaning) -> None:
    """Define what a stage's query calls.

    `marked_text(t)` is NULL where nothing is to be done, else the cleaned text behind its marks;
    `marked_label(t)` likewise for a label. With `m` their answer, `marked_result(t, m)` is what
    `t` becomes, and `marks(t, m)` what was done and seen, as bits: over 3 where it is more than
    Unicode's form and blanks.

    Args:
        bench: Where to; once.
        cleaning: What is done to texts. Labels are composed and trimmed only.
    """
    bench.set(
        unsettled=_unsettled(mojibake=not cleaning.fix_text),
        blanks=True,
        controls=True,
        fix_text=cleaning.fix_text,
        strip_html=cleaning.strip_html,
        replace_urls=cleaning.urls is not Replacement.KEEP,
        replace_names={cleaning.emails, cleaning.user_names} != {Replacement.KEEP},
        remove_symbols=cleaning.remove_symbols,
    )
    bench.define("clean_text", _marked(cleaning))
    bench.define("clean_label", _marked(Cleaning()))
    bench.run(_MACROS)


def set_file(bench: Workbench, records: Path, *, count: int) -> None:
    """Look once at a whole file for what its texts then need not be searched for.

    Args:
        bench: Prepared.
        records: The canonical records that are staged next.
        count: How many there are.
    """
    found = _searched(records)
    # A line end that ends no record stands within one.
    blanks = found.controls or found.tabs or found.line_ends > count
    bench.set(controls=found.controls, blanks=blanks)


def findings_query() -> str:
    """Return the query of a finding for each row that was changed or looks wrong."""
    return _FINDINGS


def summaries(bench: Workbench) -> list[Finding]:
    """Return one note for each file of what nobody sees: blanks that went, Unicode composed."""
    splits = list(Split)
    return [
        Finding(
            code=Code.CLEANED,
            message=" ".join(_summed_up(trimmed, composed)),
            split=splits[number],
            count=max(trimmed, composed),
        )
        for number, trimmed, composed in bench.rows(_COUNTS)
        if trimmed or composed
    ]


def _summed_up(trimmed: int, composed: int) -> Iterator[str]:
    if trimmed:
        yield f"Blanks around text or label were removed in {_rows(trimmed)}."
    if composed:
        yield f"Unicode was composed (NFC) in {_rows(composed)}."


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _marked(cleaning: Cleaning) -> Callable[[str], str]:
    clean = Cleaner(cleaning).clean
    misread = None if cleaning.fix_text else re.compile(_MISREAD)

    def marked(text: str) -> str:
        found = clean(text)
        marks = int(found.steps)
        if misread and misread.search(found.text) and repair(found.text) != found.text:
            marks |= _MOJIBAKE
        return chr(1 + marks) + found.text

    return marked


def _unsettled(*, mojibake: bool) -> str:
    """Return the expression that finds in a text what may change it, or should be looked at."""
    blanks = _class(BLANKS)
    found = f"^{blanks}|{blanks}$|{_class(_recomposed())}"
    return f"{found}|{_MISREAD}" if mojibake else found


@cache
def _recomposed() -> str:
    """Return all characters without which a text is in Unicode's form NFC.

    Marks that may be put in order, characters that NFC replaces, and those that join the one
    before them. DuckDB's own tables are of another version of Unicode than Python's.
    """
    joining = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    changing = set()
    for one in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.combining(one) or not unicodedata.is_normalized("NFC", one):
            changing.add(one)
        parts = unicodedata.decomposition(one)
        if parts and not parts.startswith("<"):
            joining |= {chr(int(part, 16)) for part in parts.split()[1:]}
    return "".join(sorted(changing | joining))


def _class(characters: str) -> str:
    """Return a character class for DuckDB's expressions."""
    return "[" + "".join(rf"\x{{{ord(one):x}}}" for one in characters) + "]"


class _Found(NamedTuple):
    """Bytes of ASCII that nobody sees, blanks aside."""

    controls: bool
    """Where there are any, the others may not have been looked for."""

    tabs: bool
    """Tabs and CR."""

    line_ends: int


def _searched(path: Path) -> _Found:
    share = -(-path.stat().st_size // _SEARCHERS)
    with ThreadPoolExecutor(_SEARCHERS) as pool:
        shares = [(path, start * share, share) for start in range(_SEARCHERS)]
        controls, tabs, line_ends = zip(*pool.map(_search, *zip(*shares, strict=True)), strict=True)
    return _Found(any(controls), any(tabs), sum(line_ends))


def _search(path: Path, start: int, size: int) -> _Found:
    buffer = bytearray(_BLOCK_BYTES)
    read = np.frombuffer(buffer, np.uint8)
    tabs, line_ends = False, 0
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while size > 0 and (count := file.readinto(memoryview(buffer)[:size])):
            size -= count
            block = read[:count]
            ended = int(np.count_nonzero(block == ord("\n")))
            line_ends += ended
            below = int(np.count_nonzero(block < ord(" "))) - ended
            if below:
                tabs_here = int(np.count_nonzero((block == ord("\r")) | (block == ord("\t"))))
                tabs = tabs or tabs_here > 0
                below -= tabs_here
            if below or np.count_nonzero(block == 0x7F):  # noqa: PLR2004  # DEL
                return _Found(controls=True, tabs=tabs, line_ends=line_ends)
    return _Found(controls=False, tabs=tabs, line_ends=line_ends)
