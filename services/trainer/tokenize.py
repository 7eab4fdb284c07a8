"""Texts to token ids, once per run. Knows no tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import tokenizers

from services.trainer.base_import import TOKENIZER, BaseEncoder, UnsupportedBase

_BLOCK = 10_000
# The library's own object of a text takes some 2 kB: 20 MB a block, 1.6 GB for 800,000 at once.


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIds:
    """The token ids of N texts, one after the other: 4 bytes a token, nothing a text."""

    ids: npt.NDArray[np.int32]
    """[T], of all texts."""

    offsets: npt.NDArray[np.int64]
    """[N + 1]: text n has `ids[offsets[n]:offsets[n + 1]]`."""

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each text, [N]."""
        return np.diff(self.offsets)

    def __getitem__(self, row: int) -> npt.NDArray[np.int32]:
        """Return the ids of one text."""
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: npt.NDArray[np.int64], *, block: int = _BLOCK) -> TokenIds:
        """Return the texts of these rows, in their order.

        Args:
            rows: Any number.
            block: How many are copied at once: the place of a token takes six times its size.
        """
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        ids = np.empty(offsets[-1], dtype=np.int32)
        for start in range(0, len(rows), block):
            part = slice(start, start + block)
            first, end = offsets[start], offsets[min(start + block, len(rows))]
            # Where each token is found: its text's start, and its place in the text.
            places = np.repeat(self.offsets[:-1][rows[part]] - offsets[:-1][part], lengths[part])
            ids[first:end] = self.ids[places + np.arange(first, end)]
        return TokenIds(ids=ids, offsets=offsets)


class Tokenizer:
    """The base's own tokenizer, cut at the base's own length and without padding."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, prefix: str) -> None:
        """Keep a tokenizer that is set up: use `load`."""
        self._tokenizer = tokenizer
        self._prefix = prefix

    @classmethod
    def load(cls, base: BaseEncoder) -> Self:
        """Read the tokenizer of a base.

        Raises:
            UnsupportedBase: Where its prefix leaves no room for a text.
        """
        tokenizer = tokenizers.Tokenizer.from_file(str(base.directory / TOKENIZER))
        # Files carry the settings of whoever saved them: all-MiniLM-L6-v2 pads and cuts at 128.
        tokenizer.no_padding()
        if base.prefix and (taken := tokens_of(tokenizer, base.prefix)) >= base.max_tokens:
            raise UnsupportedBase(no_room(base.prefix, taken, base.max_tokens))
        tokenizer.enable_truncation(base.max_tokens)
        return cls(tokenizer, base.prefix)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text with prefix and special tokens, at most `max_tokens` each."""
        encodings = self._tokenizer.encode_batch_fast([self._prefix + text for text in texts])
        return [encoding.ids for encoding in encodings]

    def encode_compactly(self, texts: Sequence[str], *, block: int = _BLOCK) -> TokenIds:
        """Return what `encode` does, in four bytes a token: for as many texts as there are.

        Args:
            texts: Any number.
            block: How many are in the tokenizer's own form at once.
        """
        parts = [np.empty(0, dtype=np.int32)]
        lengths = np.zeros(len(texts) + 1, dtype=np.int64)
        for start in range(0, len(texts), block):
            part = self.encode(texts[start : start + block])
            lengths[start + 1 : start + 1 + len(part)] = [len(ids) for ids in part]
            parts.append(np.fromiter((token for ids in part for token in ids), dtype=np.int32))
        return TokenIds(ids=np.concatenate(parts), offsets=np.cumsum(lengths))


def tokens_of(tokenizer: tokenizers.Tokenizer, prefix: str) -> int:
    """Return how many tokens a prefix takes, special tokens included; sets truncation off."""
    tokenizer.no_truncation()
    return len(tokenizer.encode(prefix).ids)


def no_room(prefix: str, taken: int, max_tokens: int) -> str:
    """Say that a prefix leaves no room for a text."""
    return (
        f"{max_tokens} tokens leave no room for a text: {prefix!r}, which the base wants before "
        f"each, takes {taken} with the special tokens."
    )
