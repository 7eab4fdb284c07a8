from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.inference.fewshot.examples import Examples
from services.inference.fewshot.head import Head
from services.inference.fewshot.heads import HeadKey, Heads, Learnt, head_key
from services.inference.model import Model
from services.inference.tokenization import Truncation
from tests.unit.inference.models import model

MODEL = model()
EXAMPLES = Examples(texts=["ab", "c"], labels=["x", "y"])


SIZE = (10 * 2 + 2 + 2 * 10) * 4


def learnt() -> Learnt:
    return Learnt(
        head=Head(weights=np.zeros((10, 2), np.float32), bias=np.zeros(2, np.float32)),
        vectors=np.zeros((2, 10), np.float32),
    )


def key(tenant: str = "t", examples: Examples = EXAMPLES, model: Model = MODEL) -> HeadKey:
    return head_key(tenant, model, Truncation.END, examples)


def test_keys_differ_with_anything_that_heads_depend_on() -> None:
    keys = {
        key(),
        key(tenant="u"),
        key(model=replace(MODEL, digest="1" * 64)),
        # The same graph, and perhaps another tokenizer or cleaning before it.
        key(model=replace(MODEL, name="models/other")),
        head_key("t", MODEL, Truncation.START, EXAMPLES),
        key(examples=Examples(texts=["a", "bc"], labels=["x", "y"])),
        key(examples=Examples(texts=["ab", "c"], labels=["y", "x"])),
    }

    assert len(keys) == 7
    assert key() == key()


def test_heads_used_longest_ago_go_first() -> None:
    heads = Heads(max_bytes=2 * SIZE)
    first, second, third = key("1"), key("2"), key("3")
    heads.keep(first, learnt())
    heads.keep(second, learnt())
    assert heads.get(first) is not None

    heads.keep(third, learnt())

    assert heads.get(second) is None
    assert heads.get(first) is not None
    assert heads.get(third) is not None


def test_a_head_that_is_learnt_twice_counts_once() -> None:
    heads = Heads(max_bytes=2 * SIZE)
    heads.keep(key("1"), learnt())
    for _ in range(3):
        heads.keep(key("2"), learnt())

    assert heads.get(key("1")) is not None
    assert heads.get(key("2")) is not None
