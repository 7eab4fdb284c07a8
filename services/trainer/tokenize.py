"""Texts to token ids, once per run. Knows no tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import tokenizers

from services.trainer.base_import import TOKENIZER, BaseEncoder


class Tokenizer:
    """The base's own tokenizer, cut at the base's own length and without padding."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        """Keep a tokenizer that is set up: use `load`."""
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, base: BaseEncoder) -> Self:
        """Read the tokenizer of a base."""
        tokenizer = tokenizers.Tokenizer.from_file(str(base.directory / TOKENIZER))
        # Files carry the settings of whoever saved them: all-MiniLM-L6-v2 pads and cuts at 128.
        tokenizer.no_padding()
        tokenizer.enable_truncation(base.max_tokens)
        return cls(tokenizer)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text with its special tokens, at most `max_tokens` each."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [encoding.ids for encoding in encodings]
