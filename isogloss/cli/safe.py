"""Texts of strangers on a terminal: what would steer it or hide is drawn instead of obeyed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.measure import Measurement
from rich.segment import Segment

_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, escape among them; tab and line feed may stay
    r"\xad\u200b\u2060-\u2064\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # drawn as nothing
    r"\u061c\u180e\u200e\u200f\u2028-\u202e\u2066-\u206f"  # turn or end the line
    r"\ud800-\udfff]"  # no characters at all
)
_PICTURES = 0x2400
_SPACE, _DELETE = 0x20, 0x7F


def visible(text: str) -> str:
    """Draw the characters of a text that would steer a terminal or that nobody would see."""
    return _HIDDEN.sub(_drawn, text)


def escaped(document: str) -> str:
    """Escape such characters of a JSON document, which says the same and is safe to print."""
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], document)


def _drawn(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < _SPACE:
        return chr(_PICTURES + number)
    return "\N{SYMBOL FOR DELETE}" if number == _DELETE else f"<U+{number:04X}>"


@dataclass(frozen=True, slots=True)
class _Visible:
    """Draws what another object draws, made visible; its own styles and moves are kept."""

    inner: ConsoleRenderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.inner, options):
            shown = segment.text if segment.control else visible(segment.text)
            yield Segment(shown, segment.style, segment.control)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.inner)


class VisibleText(RenderHook):
    """A hook of rich's consoles: whatever a view forgets is caught here."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Wrap everything that is about to be drawn."""
        return [_Visible(renderable) for renderable in renderables]
