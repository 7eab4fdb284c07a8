"""Small sketches of texts, by which those that may be alike are found without comparing all.

A text has band hashes: the more words two texts share, the more bands they are likely to share.
And it has 64 bits, of which each word turns one over: two texts that share most of their words
cannot differ in many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.ingest.checks.tokens import Words

BANDS = 8
"""Texts that share 80 % of their words have a band in common with a probability of 99.7 %, and
texts that share 90 % practically always."""

_ROWS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketches:
    """The sketches of some texts."""

    same: NDArray[np.uint64]
    """Equal where the words are the same; shape (texts)."""

    bands: NDArray[np.uint32]
    """Shape (BANDS, texts)."""

    bits: NDArray[np.uint64]
    """Each word turns one of them over, shape (texts)."""


def sketch(words: Words) -> Sketches:
    """Return the sketches of texts."""
    if not len(words.ids):
        none = np.empty(0, np.uint64)
        return Sketches(same=none, bands=np.empty((BANDS, 0), np.uint32), bits=none)
    starts = words.offsets[:-1]
    wide = words.hashes.astype(np.uint64)
    bits = np.uint64(1) << (wide & np.uint64(63))
    wide *= wide
    return Sketches(
        same=np.add.reduceat(wide, starts),
        bands=_bands(words),
        bits=np.bitwise_xor.reduceat(bits, starts),
    )


def _bands(words: Words) -> NDArray[np.uint32]:
    """Return the band hashes of each text, shape (BANDS, texts).

    The hashes of a text's words lie on a circle of 2^32 places. A band is the first three of them
    from one of eight points on: of a long text a sample as good as any, of a short one most of it.
    """
    starts, ends = words.offsets[:-1, None], words.offsets[1:, None]
    texts = len(starts)
    sector = np.repeat(np.arange(texts) * BANDS, np.diff(words.offsets))
    sector += words.hashes >> _SECTOR
    counts = np.bincount(sector, minlength=texts * BANDS)
    places = (np.cumsum(counts) - counts).reshape(texts, BANDS)
    bands = np.zeros((texts, BANDS), np.uint32)
    for _ in range(_ROWS):
        np.copyto(places, starts, where=places == ends)
        bands ^= words.hashes[places]
        bands *= _MIX
        bands ^= bands >> np.uint32(15)
        places += 1
    return np.ascontiguousarray(bands.T)


_SECTOR = np.uint32(32 - (BANDS - 1).bit_length())
_MIX = np.uint32(0x9E3779B1)
