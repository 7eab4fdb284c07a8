"""What the values of a column give away, whatever it is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"[+-]?\d[\d.,:/\- ]*%?")
_SHORT = 40
"""Characters that hardly any name or label exceeds."""

_ENOUGH_ROWS = 10
"""Rows below which values prove nothing about a column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The values of one column in the beginning of a file."""

    rows: int
    distinct: int
    filled: int
    """Values that are not blank."""

    mean_length: float
    """Characters of a value that is not blank."""

    is_numeric: bool
    """Whether every value that is not blank is a number or a date."""


def evidence_of(values: Sequence[str]) -> Evidence:
    """Look at the values of one column."""
    filled = [value.strip() for value in values if value.strip()]
    return Evidence(
        rows=len(values),
        distinct=len(set(filled)),
        filled=len(filled),
        mean_length=sum(map(len, filled)) / max(len(filled), 1),
        is_numeric=bool(filled) and all(map(_NUMBER.fullmatch, filled)),
    )


def is_nearly_empty(column: Evidence) -> bool:
    """Tell whether a column holds so little that nobody misses it."""
    return column.filled * 20 <= column.rows


def are_labels_and_texts(labels: Evidence, texts: Evidence) -> bool:
    """Tell whether one column clearly holds labels and the other clearly texts.

    Clearly is: few and short values that come again, beside values that are several times longer
    and hardly ever do.
    """
    return (
        min(labels.filled, texts.filled) >= _ENOUGH_ROWS
        and labels.distinct * 2 <= labels.filled
        and labels.mean_length <= _SHORT
        and texts.distinct * 10 >= texts.filled * 8
        and texts.mean_length >= 3 * labels.mean_length
    )


def names_its_column(name: str, below: Sequence[str]) -> bool:
    """Tell whether a first value is a name for those below it, by what these are.

    It is where all others are numbers, or where they are few, come again and again, and it is
    none of them.
    """
    name = name.strip()
    column = evidence_of(below)
    if not name or len(name) > _SHORT or not column.filled or name in map(str.strip, below):
        return False
    if column.is_numeric:
        return _NUMBER.fullmatch(name) is None
    return (
        column.filled >= 2 * _ENOUGH_ROWS
        and column.distinct * 10 <= column.filled
        and min(map(below.count, set(below) - {""})) > 1
    )


def could_be_names(cells: Sequence[str]) -> bool:
    """Tell whether cells are as short, and as different, as names of columns are."""
    filled = [cell.strip().casefold() for cell in cells if cell.strip()]
    return (
        bool(filled)
        and len(set(filled)) == len(filled)
        and all(len(cell) <= _SHORT and len(cell.split()) <= 4 for cell in filled)  # noqa: PLR2004  # words
        and not all(map(_NUMBER.fullmatch, filled))
    )
