from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.arrow_stream import TextBatch
from services.ingest.checks.tokens import pieces_of, words_of


def words(*texts: str) -> dict[int, list[int]]:
    """Return the hashes of the words of each text that has any."""
    encoded = [text.encode() for text in texts]
    batch = TextBatch(
        ids=np.arange(len(texts), dtype=np.int64),
        offsets=np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        data=np.frombuffer(b"".join(encoded), np.uint8),
    )
    found: dict[int, list[int]] = {}
    for piece in map(words_of, pieces_of(batch)):
        for number, text in enumerate(piece.ids):
            here = piece.hashes[piece.offsets[number] : piece.offsets[number + 1]]
            found[int(text)] = here.tolist()
    return found


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("where is my card", "  where, is-my\ncard?!"),
        (
            "caf\u00e9 \u043f\u0440\u0438\u0432\u0435\u0442",
            "\u00abcaf\u00e9\u00bb \u2014 \u043f\u0440\u0438\u0432\u0435\u0442\u2026",
        ),
        ("\u4f60\u597d\u5417", "\u4f60\u597d\u3002\u5417\uff1f"),
        ("antidisestablishmentarianism", "(antidisestablishmentarianism)"),
    ],
)
def test_blanks_and_punctuation_count_for_nothing(left: str, right: str) -> None:
    found = words(left, right)

    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("one two three", 3),
        ("\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", 2),
        ("\u4f60\u597d\u5417", 3),
        ("\u0e2a\u0e27\u0e31", 3),
        ("a", 1),
        ("internationalisation", 1),
    ],
)
def test_words_are_runs_of_letters_and_wide_characters(text: str, count: int) -> None:
    assert len(words(text)[0]) == count


def test_a_word_does_not_reach_into_the_next_text() -> None:
    found = words("card", "payment", "cardpayment")

    assert found[0] + found[1] != found[2]
    assert len(found[2]) == 1


def test_texts_without_words_are_left_out() -> None:
    assert set(words("?!", "", "one", "\u2026", "")) == {2}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab \u00e9\u4f60\u3002-", max_size=12), min_size=1, max_size=8))
def test_a_text_has_the_same_words_wherever_it_stands(texts: list[str]) -> None:
    together = words(*texts)

    for number, text in enumerate(texts):
        assert together.get(number) == words(text).get(0)
