"""Texts to token ids, by a model's own tokenizer.json. Knows no padding and no graph."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Self

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


class InputType(StrEnum):
    """What a text is, to a model that puts different words before them."""

    QUERY = auto()
    DOCUMENT = auto()
    CLASSIFICATION = auto()
    CLUSTERING = auto()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownText:
    """One text and its tokens, for people."""

    text: str
    """As it was read, without the prefix."""

    ids: list[int]
    """Token ids, prefix and special tokens included."""

    tokens: list[str]
    """The same as words of the vocabulary."""

    spans: list[tuple[int, int]]
    """Where in the text each stands, in characters; (0, 0) for prefix and special tokens."""

    token_count: int
    """Tokens of the whole text."""

    truncated: bool


class TextReader:
    """Reads texts for one model; may be used by any number of threads at once."""

    def __init__(self, tokenizer_json: bytes, *, max_tokens: int, prefix: str = "") -> None:
        """Parse the tokenizer.

        Args:
            tokenizer_json: As the tokenizers library writes it.
            max_tokens: Longest text in tokens, prefix and special tokens included.
            prefix: Put before every text, and never cut; empty, or with white space at its end.

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
        self._max_tokens = max_tokens
        self._put_before(prefix)

    def with_prefix(self, prefix: str) -> Self:
        """Return a reader with the same tokenizer and another prefix.

        Raises:
            ValueError: Where the prefix leaves no room for a text.
        """
        other = copy(self)
        other._put_before(prefix)  # noqa: SLF001 (of its own class)
        return other

    def _put_before(self, prefix: str) -> None:
        before, self._after = _special_tokens(self._tokenizer)
        self._prefix = prefix
        # Without its last space, which tokenizers count to the word behind it.
        self._before = [*before, *self._plain(prefix.rstrip())]
        self._words_start = len(self._before) - len(before)
        self._room = self._max_tokens - len(self._before) - len(self._after)
        if self._room < 1:
            raise ValueError(
                f"max_tokens {self._max_tokens} leaves no room beside the prefix and the special "
                "tokens"
            )

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

    def show(self, text: str, truncation: Truncation) -> ShownText:
        """Return the tokens that `read` gives, as words and with their places.

        With truncation NONE all tokens are shown, and nothing is refused.
        """
        encoding = self._tokenizer.encode(self._prefix + text, add_special_tokens=False)
        words = slice(self._words_start, None)
        ids, spans = encoding.ids[words], encoding.offsets[words]
        truncated = len(ids) > self._room and truncation is not Truncation.NONE
        if truncated:
            end = truncation is Truncation.END
            kept = slice(0, self._room) if end else slice(len(ids) - self._room, None)
        else:
            kept = slice(None)
        framed = self._framed(ids[kept])
        shift = len(self._prefix)
        # The first word's token may begin with the prefix's last space.
        placed = [(max(start - shift, 0), stop - shift) for start, stop in spans[kept]]
        nowhere = (0, 0)
        return ShownText(
            text=text,
            ids=framed,
            tokens=[self._tokenizer.id_to_token(token) or "" for token in framed],
            spans=[nowhere] * len(self._before) + placed + [nowhere] * len(self._after),
            token_count=self._framed_length(ids),
            truncated=truncated,
        )

    def count(self, text: str) -> int:
        """Return the number of tokens of the whole text, special tokens included."""
        return self._framed_length(self._encode(self._prefix + text))

    def _content(self, text: str, truncation: Truncation) -> tuple[list[int], bool]:
        """Return ids without special tokens, and whether they are those of the whole text.

        Where they are not, they are more than fit, and those that fit are the whole text's.
        """
        characters = (self._room + _MARGIN_TOKENS) * _CHARACTERS_PER_TOKEN
        while characters < len(text):
            if truncation is Truncation.START:
                part = _end(text, characters)
                # It begins with white space of its own.
                prefixed = None if part is None else self._prefix.rstrip() + part
            else:
                part = _beginning(text, characters)
                prefixed = None if part is None else self._prefix + part
            if prefixed is None:
                break
            ids = self._encode(prefixed)
            if len(ids) > self._room + _MARGIN_TOKENS:
                return ids, False
            characters *= 2
        return self._encode(self._prefix + text), True

    def _encode(self, prefixed: str) -> list[int]:
        """Return the ids of what stands behind the prefix."""
        return self._plain(prefixed)[self._words_start :]

    def _plain(self, text: str) -> list[int]:
        # Alone, a text is never handed to the library's own threads: our workers are the
        # only ones, so their number is the number of cores that are used.
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _framed_length(self, ids: list[int]) -> int:
        return len(self._before) + len(ids) + len(self._after)

    def _framed(self, ids: list[int]) -> list[int]:
        return [*self._before, *ids, *self._after]


def _end(text: str, characters: int) -> str | None:
    """Return about the last `characters` of `text`, from white space on; None without any.

    It begins with the white space: byte-level and Metaspace tokenizers count it to the word
    behind it.
    """
    start = len(text) - characters
    cuts = [cut for mark in _CUT_CHARACTERS if (cut := text.find(mark, start)) >= 0]
    return text[min(cuts) :] if cuts else None


def _beginning(text: str, characters: int) -> str | None:
    """Return about the first `characters` of `text`, up to white space; None without any."""
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
