"""What is done to a text before it is learnt from, and again before it is embedded or classified.

The one implementation: ingest applies it to every row, and inference to every text that it is
sent, as the model's manifest says. Knows neither rows nor models.

Every step takes time in proportion to the text, whatever is in it: texts come from strangers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from functools import partial
from typing import NamedTuple

import ftfy

from services.common.markup import strip_markup
from services.common.symbols import holds_symbol, remove_symbols

BLANKS = "".join(
    chr(code)
    for code in (
        *range(0x09, 0x0E),
        0x20,
        0x85,
        0xA0,
        0x1680,
        *range(0x2000, 0x2010),
        0x2028,
        0x2029,
        0x202F,
        0x205F,
        0x2060,
        0x3000,
        0xFEFF,
    )
)
"""White space of Unicode and what has no width: nobody sees it at the ends of a text."""


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


class Step(IntFlag):
    """What was done to a text."""

    TRIMMED = 1
    COMPOSED = 2
    REPAIRED = 4
    MARKUP = 8
    URLS = 16
    EMAILS = 32
    USER_NAMES = 64
    SYMBOLS = 128


class Cleaned(NamedTuple):
    """A text that was cleaned."""

    text: str
    steps: Step
    """What changed it; none where it came as it is."""


# One for each set of bits: to find it here is faster than to build it, a million times.
_STEPS = tuple(Step(bits) for bits in range(1 << len(Step)))

# What one step leaves can be work for another: `&lt;b&gt;` becomes a tag. Real texts settle in
# two or three rounds.
_ROUNDS = 8
_HOSTILE = re.compile(r"[^A-Za-z0-9 ]+")

# From here on (CJK, fullwidth forms, emoji) nothing belongs to an address or a name that is
# written without blanks around it.
_BEYOND = "\N{CJK RADICAL REPEAT}-\U0010ffff"
_LETTERS = "A-Za-z\u00c0-\u024f"

_URL_BODY = rf"[^\s<>\"{_BEYOND}]"
_URL = (
    r"(?<![A-Za-z0-9])(?:(?:https?|ftp)://|www\.)(?=\w)"
    rf"{_URL_BODY}*(?![.,;:!?'*)\]}}\u2019\u201d\u2026]){_URL_BODY}"
)
_MAIL_LOCAL = rf"[{_LETTERS}0-9._%+-]"
# The bounds are those of RFC 5321; they keep the search linear.
_EMAIL = (
    rf"(?<![{_LETTERS}0-9._%+@-]){_MAIL_LOCAL}{{1,64}}@"
    rf"(?:[{_LETTERS}0-9-]{{1,63}}\.){{1,8}}[{_LETTERS}]{{2,63}}(?![{_LETTERS}0-9])"
)
# With a letter: `@2.50` is a price.
_USER_NAME = rf"(?<![\w@./])@(?=\d*+[^\W\d])[^\W{_BEYOND}]+(?:@[\w-]+(?:\.[\w-]+)*)?"

# Nothing but wrong decoding: curly quotes, ligatures and widths are the writer's.
_REPAIR = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    fix_surrogates=False,
    remove_control_chars=False,
    normalization=None,
    explain=False,
)


def repair(text: str) -> str:
    """Return `text` as it was before it was decoded with the wrong encoding."""
    return text if text.isascii() else ftfy.fix_encoding(text, _REPAIR)


class Cleaner:
    """Cleans texts in one declared way; may be used by any number of threads at once.

    What it returns is settled: cleaning it again changes nothing.
    """

    def __init__(self, cleaning: Cleaning) -> None:
        """Prepare the steps.

        Args:
            cleaning: What is to be done.
        """
        self._steps = [*_steps(cleaning)]

    def may_change(self, text: str) -> bool:
        """Tell cheaply whether `clean` has anything to do; where this is False, a text stays."""
        return not _is_plain(text) or any(concerns(text) for _, concerns, _ in self._steps)

    def clean(self, text: str) -> Cleaned:
        """Return `text` with everything done that was declared."""
        done = 0
        for _ in range(_ROUNDS):
            if not self.may_change(text):
                return Cleaned(text, _STEPS[done])
            steps, text = self._round(text)
            done |= steps
            if not steps:
                return Cleaned(text, _STEPS[done])
        # Built to be cleaned for ever. What is left here is settled for every step.
        return Cleaned(_HOSTILE.sub(" ", text).strip(), _STEPS[done])

    def _round(self, text: str) -> tuple[int, str]:
        done = 0
        for step, concerns, apply in self._steps:
            if concerns(text) and (changed := apply(text)) != text:
                done |= step
                text = changed
        if not _is_plain(text):
            composed = unicodedata.normalize("NFC", text)
            trimmed = composed.strip(BLANKS)
            done |= Step.COMPOSED.value * (composed != text)
            done |= Step.TRIMMED.value * (trimmed != composed)
            text = trimmed
        return done, text


_Step = tuple[int, Callable[[str], bool], Callable[[str], str]]
"""The bit of a step, whether it may change a text (cheap), and what it does."""


def _steps(cleaning: Cleaning) -> list[_Step]:
    steps: list[_Step] = []
    if cleaning.fix_text:
        steps.append((Step.REPAIRED.value, _beyond_ascii, repair))
    if cleaning.strip_html:
        steps.append((Step.MARKUP.value, _may_hold_markup, strip_markup))
    for step, choice, concerns, pattern, mask in (
        (Step.URLS, cleaning.urls, _may_hold_url, _URL, "[URL]"),
        (Step.EMAILS, cleaning.emails, _may_hold_name, _EMAIL, "[EMAIL]"),
        (Step.USER_NAMES, cleaning.user_names, _may_hold_name, _USER_NAME, "[USER]"),
    ):
        if choice is not Replacement.KEEP:
            steps.append((step.value, concerns, _replacing(pattern, choice, mask)))
    if cleaning.remove_symbols:
        steps.append((Step.SYMBOLS.value, holds_symbol, remove_symbols))
    return steps


def _replacing(pattern: str, choice: Replacement, mask: str) -> Callable[[str], str]:
    if choice is Replacement.MASK:
        return partial(re.compile(pattern, re.IGNORECASE).sub, mask)
    # Of the blanks on both sides one is enough.
    return partial(re.compile(rf" {pattern}(?!\w)|{pattern}", re.IGNORECASE).sub, "")


def _is_plain(text: str) -> bool:
    """Tell whether neither composing nor trimming changes `text`."""
    if text and (text[0] in BLANKS or text[-1] in BLANKS):
        return False
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def _beyond_ascii(text: str) -> bool:
    return not text.isascii()


def _may_hold_markup(text: str) -> bool:
    return "<" in text or "&" in text


def _may_hold_url(text: str) -> bool:
    return "://" in text or "www." in text.lower()


def _may_hold_name(text: str) -> bool:
    return "@" in text
