"""What cleaning does to a text, that it settles, and that nothing makes it slow."""

from __future__ import annotations

import unicodedata
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.common.cleaning import BLANKS, Cleaner, Cleaning, Replacement, Step

MASK, REMOVE = Replacement.MASK, Replacement.REMOVE
EVERYTHING = [
    Cleaning(
        fix_text=fix_text,
        strip_html=strip_html,
        urls=replacement,
        emails=replacement,
        user_names=replacement,
        remove_symbols=remove_symbols,
    )
    for fix_text, strip_html, replacement, remove_symbols in product(
        (False, True), (False, True), Replacement, (False, True)
    )
]
# Where trouble starts: pieces that steps look for, and that become others when put together.
PIECES = [
    *"<>&;@:/.^`'\" \t\n-!?#=abN07é☺👍®Ã©â€™œ中",
    *"\u0301\u200d\ufe0f\u00a0\u2028\u212b\u1fef\u1100\u1161",
    *("<b>", "</b>", "<br/>", "<p", "<!--", "-->", "<script>", "</script>", "&amp;", "&lt;"),
    *("&#38;", "&#x3c;", "&eacute;", "&nbsp;", "http://", "www.", "x.de", "@bob", "bob@x.de"),
    *("[URL]", "[USER]", "cafÃ©", "â€œ", "word "),
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)
cleanings = st.sampled_from(EVERYTHING)


def cleaned(text: str, cleaning: Cleaning) -> str:
    return Cleaner(cleaning).clean(text).text


@settings(deadline=None)  # no timing decides a test
@given(texts, cleanings)
@example("&l☺t;b>", Cleaning(strip_html=True, remove_symbols=True))
def test_a_cleaned_text_is_settled(text: str, cleaning: Cleaning) -> None:
    cleaner = Cleaner(cleaning)
    once = cleaner.clean(text)

    again = cleaner.clean(once.text)

    assert again.text == once.text
    assert not again.steps


@settings(deadline=None)  # no timing decides a test
@given(texts, cleanings)
def test_what_needs_no_look_is_left_alone(text: str, cleaning: Cleaning) -> None:
    cleaner = Cleaner(cleaning)
    found = cleaner.clean(text)

    assert cleaner.may_change(text) or found.text == text
    assert (found.text == text) == (not found.steps)


@settings(deadline=None)  # no timing decides a test
@given(texts, cleanings)
def test_a_cleaned_text_is_composed_and_has_no_blanks_at_its_ends(
    text: str, cleaning: Cleaning
) -> None:
    found = cleaned(text, cleaning)

    assert unicodedata.is_normalized("NFC", found)
    assert found == found.strip(BLANKS)


@settings(deadline=None)  # no timing decides a test
@given(st.text())
def test_without_declared_steps_only_form_and_blanks_change(text: str) -> None:
    assert cleaned(text, Cleaning()) == unicodedata.normalize("NFC", text).strip(BLANKS)


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("cafÃ© â€œnowâ€\x9d", "café “now”"),
        ("Ã¤rgerlich und ärgerlich", "ärgerlich und ärgerlich"),
        ("“curly” ﬁne \uff46\uff55 &amp; \x07", "“curly” ﬁne \uff46\uff55 &amp; \x07"),
        ("ÃA NAÏVE DÉJÀ-VU", "ÃA NAÏVE DÉJÀ-VU"),
    ],
)
def test_only_wrong_decoding_is_repaired(dirty: str, clean: str) -> None:
    assert cleaned(dirty, Cleaning(fix_text=True)) == clean


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("<p>one</p><p>two<br>three</p>", "one two three"),
        ('<a href="x" title="1 > 0">link</a>ed', "linked"),
        ('<a title="half>link</a>', "link"),
        ("<td>a</td><td>b</td>", "a b"),
        ("x<!-- no\none -->y<style>p {}</style> z<script>alert('<b>')</script>", "xy z"),
        ("caf&eacute; &#8364;5 &#x3e; 4", "café €5 > 4"),
        ("<b>a</b>\n\n  b &nbsp; c", "a b c"),
        ("a &amp;lt;br&amp;gt; b", "a b"),
        ("<o:p></o:p><!DOCTYPE html>Dear all", "Dear all"),
        ("the rest <!-- is not closed", "the rest"),
    ],
)
def test_markup_becomes_what_a_reader_sees(dirty: str, clean: str) -> None:
    assert cleaned(dirty, Cleaning(strip_html=True)) == clean


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "I <3 you",
        "if x<y and y>z",
        "a <b",
        "</3",
        "<name> at <http://x.de> or <bob@x.de>",
        "AT&T & R&D, ?a=1&copy=2 &bogus;",
        "two\n\nparagraphs  and blanks",
    ],
)
def test_what_is_no_markup_stays(text: str) -> None:
    assert cleaned(text, Cleaning(strip_html=True)) == text


@pytest.mark.parametrize(
    ("dirty", "masked", "removed"),
    [
        ("see http://x.de/a?b=1#c, now", "see [URL], now", "see, now"),
        ("HTTPS://X.DE or www.x.de/y.", "[URL] or [URL].", "or."),
        ("看http://x.de/y。很好", "看[URL]。很好", "看。很好"),
        ("write bob.smith+x@foo-bar.co.uk!", "write [EMAIL]!", "write!"),
        ("联系bob@müller.de谢谢", "联系[EMAIL]谢谢", "联系谢谢"),
        ("@bob and @alice_1 go", "[USER] and [USER] go", "and go"),
        ("@bob@mastodon.social", "[USER]", ""),
        ("mailto:a@b.de @c", "mailto:[EMAIL] [USER]", "mailto:"),
    ],
)
def test_addresses_and_names_are_masked_or_removed(dirty: str, masked: str, removed: str) -> None:
    assert cleaned(dirty, Cleaning(urls=MASK, emails=MASK, user_names=MASK)) == masked
    assert cleaned(dirty, Cleaning(urls=REMOVE, emails=REMOVE, user_names=REMOVE)) == removed


@pytest.mark.parametrize(
    "text", ["https://", "www.", "a@b", "apples @2.50 each", "x@y.1", "tiktok.com/@bob", "3 @ 5"]
)
def test_what_is_no_address_stays(text: str) -> None:
    assert cleaned(text, Cleaning(urls=MASK, emails=MASK, user_names=MASK)) == text


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("good☺morning ☺ all ☺☺ 👩‍👩‍👧 end 👍🏽!", "good morning all end!"),
        ("I ♥ NY®", "I NY"),
        ("see `code` 2^3", "see code 2 3"),
        ("5€ + 3 = 8 (1️⃣) §4 — ok", "5€ + 3 = 8 (1️⃣) §4 — ok"),
    ],
)
def test_symbols_go_and_words_stay_apart(dirty: str, clean: str) -> None:
    assert cleaned(dirty, Cleaning(remove_symbols=True)) == clean


def test_it_tells_what_was_done() -> None:
    cleaner = Cleaner(Cleaning(fix_text=True, strip_html=True, urls=MASK, remove_symbols=True))

    found = cleaner.clean(" <b>cafÃ©</b> ☺ www.x.de")

    assert found.text == "café [URL]"
    assert found.steps == (Step.TRIMMED | Step.REPAIRED | Step.MARKUP | Step.URLS | Step.SYMBOLS)
    assert cleaner.clean("e\u0301").steps == Step.COMPOSED


@pytest.mark.parametrize(
    "unit",
    [
        *('<a "', "<a '\"", "<!--", "<script>", "<div>", "&amp;", "&#38;", "<b>&lt;b&gt;", "<b"),
        *("http://.", "www.", "a@", "a.", "@a@", "☺ ", "^", "Ã©", "\u0301", " \u00a0", "%@x.yy"),
    ],
)
@pytest.mark.timeout(20)
def test_no_text_takes_more_than_linear_time(unit: str) -> None:
    # What takes the square of the length would take hours for this.
    text = unit * (200_000 // len(unit))
    cleaner = Cleaner(EVERYTHING[-1])

    once = cleaner.clean(text)

    assert not cleaner.clean(once.text).steps


def test_markup_without_end_comes_to_one() -> None:
    nested = "<b" * 1_000 + ">" * 1_000

    found = cleaned(nested, Cleaning(strip_html=True))

    assert "<" not in found
