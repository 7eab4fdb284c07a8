from __future__ import annotations

import io
import json
import unicodedata

import pytest
from rich.console import Console
from rich.text import Text

from isogloss.cli.safe import VisibleText, escaped, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\x00b\x7f", "a␀b␡"),
        ("\x9b2J", "<U+009B>2J"),
        ("a\u202eb", "a<U+202E>b"),
        ("a\u2028b", "a<U+2028>b"),
        ("\ufeffa\U000e0041", "<U+FEFF>a<U+E0041>"),
        ("\ud800", "<U+D800>"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("naïve café, 日本語, עברית, हिन्दी", "naïve café, 日本語, עברית, हिन्दी"),
        ("👩\u200d💻 ❤\ufe0f no\u00a0break", "👩\u200d💻 ❤\ufe0f no\u00a0break"),
    ],
)
def test_what_steers_or_hides_is_drawn(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_no_control_but_tab_and_line_feed_and_no_turn_of_the_line_is_left() -> None:
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    everything = "".join(map(chr, range(0x110000)))

    left = visible(everything)

    assert {char for char in left if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"}} == {
        "\t",
        "\n",
    }
    assert not {char for char in left if unicodedata.bidirectional(char) in turning}


def test_a_document_says_the_same() -> None:
    text = "\x1b \u202e \x9b \U000e0041 \ud800 日本語"
    document = json.dumps({"text": text}, ensure_ascii=False)

    safe = escaped(document)

    assert visible(safe) == safe
    assert json.loads(safe) == {"text": text}
    assert "日本語" in safe


def test_the_hook_catches_what_a_view_forgot_and_keeps_its_style() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=40)
    console.push_render_hook(VisibleText())

    console.print(Text("a\x1b[2Jb", "red"))

    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "\x1b[31ma␛[2Jb\x1b[0m\n"
