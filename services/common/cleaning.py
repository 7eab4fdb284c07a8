"""What is done to a text before it is learnt from, and again before it is embedded or classified.

The one implementation: ingest applies it to every row, and inference to every text that it is
sent, as the model's manifest says. Knows neither rows nor models.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Replacement(StrEnum):
    """What becomes of what was recognised."""

    KEEP = "keep"
    REMOVE = "remove"
    MASK = "mask"
    """A word takes its place: `[URL]`, `[EMAIL]` or `[USER]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """The declared steps, in the order in which they are done.

    After them, always: Unicode NFC, and blanks at both ends removed.
    """

    fix_text: bool = False
    """Repair text that was decoded with the wrong encoding somewhere."""

    strip_html: bool = False
    """Keep what a reader of the page would see."""

    urls: Replacement = Replacement.KEEP
    emails: Replacement = Replacement.KEEP
    user_names: Replacement = Replacement.KEEP
    """`@somebody`."""

    remove_symbols: bool = False
    """Symbols and pictographs (Unicode categories So and Sk)."""
