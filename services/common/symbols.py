"""Symbols and pictographs (Unicode categories So and Sk), and how they leave a text."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

# What belongs to a pictograph and is nothing without it: variants, joiners, flags' letters.
_ATTACHED = "\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f"


def holds_symbol(text: str) -> bool:
    """Tell whether there is any symbol in `text`."""
    return not _symbols().isdisjoint(text)


def remove_symbols(text: str) -> str:
    """Return `text` without symbols; where one stood between words, a blank keeps them apart."""
    between, anywhere = _patterns()
    return anywhere.sub("", between.sub(" ", text))


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    symbol = "".join(map(re.escape, sorted(_symbols())))
    run = f"[{symbol}](?: ?+[{symbol}{_ATTACHED}])*+"
    return re.compile(rf"(?<=\w){run}(?=\w)"), re.compile(rf" {run}(?!\w)|{run}")


@cache
def _symbols() -> frozenset[str]:
    characters = map(chr, range(sys.maxunicode + 1))
    return frozenset(one for one in characters if unicodedata.category(one) in {"So", "Sk"})
