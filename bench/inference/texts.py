"""Two mixes of texts, made of real messages: the same seed gives the same texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from tokenizers import Tokenizer

from bench.labelled_sets import read
from bench.large import SETS
from examples.demo import TONE

SHORT = range(5, 31)
"""Tokens of a short text, special ones included."""

MIXED = range(5, 401)
"""Tokens of any text of the other mix."""


def messages(data: Path | None) -> list[str]:
    """Return real messages: of the labelled sets in a folder, else the demo's."""
    if data is None:
        return [text for text, _ in read(TONE / "train.csv")[1:]]
    found = [text for name in SETS for text, _ in read(data / name / "train.csv")]
    return list(dict.fromkeys(found))


def mix(
    source: Sequence[str], tokenizer: Tokenizer, lengths: range, count: int, *, seed: int = 7
) -> list[str]:
    """Return texts whose lengths are spread evenly over `lengths`.

    Messages are joined until a text is long enough, and cut where it is too long.

    Args:
        source: Messages.
        tokenizer: Counts; cuts and pads nothing.
        lengths: Tokens of a text, special ones included.
        count: How many texts.
        seed: Of the draw.
    """
    random = np.random.default_rng(seed)
    return [
        _text(source, tokenizer, int(wanted), lengths, random)
        for wanted in random.integers(lengths.start, lengths.stop, count)
    ]


def _text(
    source: Sequence[str], tokenizer: Tokenizer, wanted: int, lengths: range, random: Generator
) -> str:
    for text in _joined(source, wanted, random):
        encoded = tokenizer.encode(text)
        if len(encoded.ids) < wanted:
            continue
        # A token is joined or parted anew where a text is cut: what is outside is drawn again.
        cut = text[: encoded.offsets[wanted - 2][1]]
        if len(tokenizer.encode(cut).ids) in lengths:
            return cut
    raise AssertionError


def _joined(source: Sequence[str], wanted: int, random: Generator) -> Iterator[str]:
    """Yield ever longer texts; begin anew where one is far too long."""
    while True:
        parts: list[str] = []
        # A token is at least a character: more are never needed.
        while sum(map(len, parts)) < wanted * 12:
            parts.append(source[int(random.integers(len(source)))])
            yield " ".join(parts)
