from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.trainer.base_import import BaseEncoder, UnsupportedBase
from services.trainer.tokenize import Tokenizer

_TEXTS = ["good app", "", "the card was lost again " * 3, "bad", "where is my order"]


@pytest.mark.parametrize("block", [1, 2, 5, 100])
def test_compact_ids_are_the_same_whatever_the_block(base: BaseEncoder, block: int) -> None:
    tokenizer = Tokenizer.load(base)

    tokens = tokenizer.encode_compactly(_TEXTS, block=block)

    assert [tokens[row].tolist() for row in range(len(tokens))] == tokenizer.encode(_TEXTS)
    assert tokens.lengths.tolist() == [len(ids) for ids in tokenizer.encode(_TEXTS)]
    assert tokens.ids.dtype == np.int32


@pytest.mark.parametrize("rows", [[3, 0], [2, 2, 1], []])
def test_taken_rows_come_in_their_order(base: BaseEncoder, rows: list[int]) -> None:
    tokens = Tokenizer.load(base).encode_compactly(_TEXTS)

    taken = tokens.take(np.array(rows, dtype=np.int64), block=2)

    assert [taken[place].tolist() for place in range(len(taken))] == [
        tokens[row].tolist() for row in rows
    ]


def test_a_prefix_that_leaves_no_room_is_refused(base: BaseEncoder) -> None:
    long = replace(base, prefix="where is my order " * 3)
    taken = len(Tokenizer.load(long).encode([""])[0])

    Tokenizer.load(replace(long, max_tokens=taken + 1))
    with pytest.raises(UnsupportedBase, match=f"takes {taken}"):
        Tokenizer.load(replace(long, max_tokens=taken))


def test_no_texts_have_no_ids(base: BaseEncoder) -> None:
    assert len(Tokenizer.load(base).encode_compactly([])) == 0
