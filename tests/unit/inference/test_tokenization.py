from __future__ import annotations

import string
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from services.inference.tokenization import TextReader, TextTooLong, Truncation
from tests.tiny_model import tiny_tokenizer

MAX_TOKENS = 12


def library(direction: str = "right") -> Tokenizer:
    """The tokenizers library doing by itself what TextReader does."""
    tokenizer = tiny_tokenizer()
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS, direction=direction)
    return tokenizer


RIGHT = library("right")
LEFT = library("left")
WHOLE = tiny_tokenizer()
WHOLE.no_padding()
WHOLE.no_truncation()


def reader(max_tokens: int = MAX_TOKENS) -> TextReader:
    return TextReader(tiny_tokenizer().to_str().encode(), max_tokens=max_tokens)


READER = reader()

words = st.text(alphabet=string.ascii_letters + string.digits + " \n\t.,!'é中Σ", min_size=1)
long_texts = st.builds(
    lambda parts, space: space.join(parts),
    st.lists(st.text(alphabet="abcé.中Σ", min_size=1, max_size=12), min_size=200, max_size=600),
    st.sampled_from([" ", "\n", "\u00a0", "  "]),
)


@given(words)
@settings(deadline=None)  # no timing decides a test
def test_short_texts_are_read_as_the_library_reads_them(text: str) -> None:
    read = READER.read(text, Truncation.END)

    assert read.ids == RIGHT.encode(text).ids
    assert read.truncated == (len(WHOLE.encode(text).ids) > MAX_TOKENS)


@given(long_texts)
@settings(deadline=None)  # no timing decides a test
def test_long_texts_are_cut_as_the_library_cuts_them(text: str) -> None:
    assert READER.read(text, Truncation.END).ids == RIGHT.encode(text).ids
    assert READER.read(text, Truncation.START).ids == LEFT.encode(text).ids


@given(long_texts)
@settings(deadline=None)  # no timing decides a test
def test_without_truncation_a_long_text_is_refused(text: str) -> None:
    tokens = len(WHOLE.encode(text).ids)
    with pytest.raises(TextTooLong) as caught:
        READER.read(text, Truncation.NONE)

    assert MAX_TOKENS < caught.value.token_count <= tokens
    assert caught.value.exact == (caught.value.token_count == tokens)
    assert READER.count(text) == tokens


def test_a_text_that_fits_exactly_is_not_truncated() -> None:
    text = " ".join(["order"] * (MAX_TOKENS - 2))

    for truncation in Truncation:
        read = READER.read(text, truncation)
        assert (len(read.ids), read.truncated) == (MAX_TOKENS, False)
    with pytest.raises(TextTooLong):
        READER.read(f"{text} late", Truncation.NONE)


def test_a_huge_text_is_not_read_whole() -> None:
    class Counting:
        characters = 0

        def encode(self, text: str, *, add_special_tokens: bool) -> object:
            self.characters += len(text)
            return WHOLE.encode(text, add_special_tokens=add_special_tokens)

    counting = Counting()
    huge = "order late " * 12_000
    target = reader()
    target._tokenizer = counting  # type: ignore[assignment] # the library's cannot be watched

    for truncation in (Truncation.END, Truncation.START):
        assert target.read(huge, truncation).truncated
    with pytest.raises(TextTooLong):
        target.read(huge, Truncation.NONE)

    assert counting.characters < len(huge) / 50


def test_a_long_text_is_not_cut_inside_a_word() -> None:
    # Each word is one [UNK], being over 100 characters; a part of one would be many tokens.
    text = " ".join(["a" * 120] * 5 + ["a" * 200] + ["b" * 120] * 60)
    backwards = " ".join(reversed(text.split()))

    assert READER.read(text, Truncation.END).ids == RIGHT.encode(text).ids
    assert READER.read(backwards, Truncation.START).ids == LEFT.encode(backwards).ids


def test_a_huge_text_without_white_space_is_read_whole() -> None:
    text = "中" * 5_000

    assert READER.read(text, Truncation.END).ids == RIGHT.encode(text).ids
    assert READER.read(text, Truncation.START).ids == LEFT.encode(text).ids


@given(st.one_of(words, long_texts))
@settings(deadline=None)  # no timing decides a test
def test_a_prefix_stands_before_every_text_and_is_never_cut(text: str) -> None:
    prefix = "query: "
    prefixed = TextReader(tiny_tokenizer().to_str().encode(), max_tokens=MAX_TOKENS, prefix=prefix)
    start, *content, end = WHOLE.encode(prefix + text).ids
    asked = WHOLE.encode(prefix, add_special_tokens=False).ids
    room = MAX_TOKENS - 2 - len(asked)

    cut_behind = prefixed.read(text, Truncation.END)
    cut_before = prefixed.read(text, Truncation.START)

    assert cut_behind.ids == RIGHT.encode(prefix + text).ids
    assert cut_before.ids == [start, *asked, *content[len(asked) :][-room:], end]
    assert cut_behind.truncated == cut_before.truncated == (len(content) > MAX_TOKENS - 2)
    assert prefixed.count(text) == len(content) + 2


def test_threads_share_a_reader() -> None:
    texts = [f"order {number} late " * (number % 9 + 1) for number in range(400)]
    expected = [READER.read(text, Truncation.END) for text in texts]

    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda text: READER.read(text, Truncation.END), texts))

    assert found == expected


def test_what_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json cannot be read"):
        TextReader(b"{}", max_tokens=8)


def test_a_model_without_room_for_text_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves no room"):
        reader(max_tokens=2)
    with pytest.raises(ValueError, match="leaves no room"):
        TextReader(tiny_tokenizer().to_str().encode(), max_tokens=5, prefix="a b c ")
