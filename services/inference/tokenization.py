"""Texts to token ids, by a model's own tokenizer.json. Knows no padding and no graph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto

from tokenizers import Tokenizer

# A text is first cut to this many characters a token. English has 4 to 5, so 16 leaves a
# second reading to texts of very long words only; 512 tokens read at most 8,192 characters.
_CHARACTERS_PER_TOKEN = 16

# Tokens between what is kept and where the text was cut. A tokenizer that looks at its
# surroundings (a final sigma, Unigram's best path) does so within a few tokens.
_MARGIN_TOKENS = 32

# Where a text may be cut: no tokenizer joins a token across these. Other white space is left
# alone, a text without any of these is read whole.
_CUT_CHARACTERS = " \n\t"


class Truncation(StrEnum):
    """Which part of a text is left out where it has more tokens than the model takes."""

    NONE = auto()
    START = auto()
    END = auto()


class TextTooLong(Exception):
    """A text has more tokens than the model takes, and nothing may be left out."""

    def __init__(self, token_count: int, *, exact: bool) -> None:
        """Keep the number of its tokens, special tokens included.

        Args:
            token_count: How many were seen.
            exact: Whether these are all; a huge text is not read to its end.
        """
        super().__init__(token_count)
        self.token_count = token_count
        self.exact = exact


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenisedText:
    """One text as the graph takes it."""

    ids: list[int]
    """Token ids, special tokens included; at most the model's longest text."""

    truncated: bool
    """Whether a part of the text was left out."""


class TextReader:
    """Reads texts for one model; may be used by any number of threads at once."""

    def __init__(self, tokenizer_json: bytes, *, max_tokens: int) -> None:
        """Parse the tokenizer.

        Args:
            tokenizer_json: As the tokenizers library writes it.
            max_tokens: Longest text in tokens, special tokens included.

        Raises:
            ValueError: Where the tokenizer cannot be parsed, or leaves no room for a text.
        """
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer_json)
        except Exception as error:  # the library raises plain Exception
            raise ValueError(f"tokenizer.json cannot be read: {error}") from error
        # Set once and never again: the tokenizer must not be changed while a thread reads.
        # Texts are cut below, which also counts what is left out.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._before, self._after = _special_tokens(self._tokenizer)
        self._room = max_tokens - len(self._before) - len(self._after)
        if self._room < 1:
            raise ValueError(f"max_tokens {max_tokens} leaves no room beside the special tokens")

    def read(self, text: str, truncation: Truncation) -> TokenisedText:
        """Return the token ids of `text`, cut as `truncation` says.

        Raises:
            TextTooLong: Where it has too many tokens and `truncation` is NONE.
        """
        ids, whole = self._content(text, truncation)
        if len(ids) <= self._room:
            return TokenisedText(ids=self._framed(ids), truncated=False)
        if truncation is Truncation.NONE:
            raise TextTooLong(self._framed_length(ids), exact=whole)
        kept = ids[: self._room] if truncation is Truncation.END else ids[-self._room :]
        return TokenisedText(ids=self._framed(kept), truncated=True)

    def count(self, text: str) -> int:
        """Return the number of tokens of the whole text, special tokens included."""
        return self._framed_length(self._encode(text))

    def _content(self, text: str, truncation: Truncation) -> tuple[list[int], bool]:
        """Return ids without special tokens, and whether they are those of the whole text.

        Where they are not, they are more than fit, and those that fit are the whole text's.
        """
        characters = (self._room + _MARGIN_TOKENS) * _CHARACTERS_PER_TOKEN
        while characters < len(text):
            part = _part(text, characters, from_end=truncation is Truncation.START)
            if part is None:
                break
            ids = self._encode(part)
            if len(ids) > self._room + _MARGIN_TOKENS:
                return ids, False
            characters *= 2
        return self._encode(text), True

    def _encode(self, text: str) -> list[int]:
        # Alone, a text is never handed to the library's own threads: our workers are the
        # only ones, so their number is the number of cores that are used.
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _framed_length(self, ids: list[int]) -> int:
        return len(self._before) + len(ids) + len(self._after)

    def _framed(self, ids: list[int]) -> list[int]:
        return [*self._before, *ids, *self._after]


def _part(text: str, characters: int, *, from_end: bool) -> str | None:
    """Return about `characters` of one end of `text`, cut at white space; None without any.

    A part that begins inside the text begins with the white space: byte-level and Metaspace
    tokenizers count it to the word behind it.
    """
    if from_end:
        start = len(text) - characters
        cuts = [cut for mark in _CUT_CHARACTERS if (cut := text.find(mark, start)) >= 0]
        return text[min(cuts) :] if cuts else None
    cut = max(text.rfind(mark, 0, characters) for mark in _CUT_CHARACTERS)
    return text[:cut] if cut > 0 else None


def _special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the ids that stand before and after every text, such as [CLS] and [SEP]."""
    plain: list[int] = tokenizer.encode("a", add_special_tokens=False).ids
    framed: list[int] = tokenizer.encode("a").ids
    for start in range(len(framed) - len(plain) + 1):
        if framed[start : start + len(plain)] == plain:
            return framed[:start], framed[start + len(plain) :]
    raise ValueError("tokenizer.json changes the text's own tokens where it adds special ones")
