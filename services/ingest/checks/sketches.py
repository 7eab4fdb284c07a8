"""Small sketches of texts, by which those that may be alike are found without comparing all.

A text has band hashes (MinHash): the more words two texts share, the more bands they are likely
to share. And it has 64 bits, of which each word turns one over: two texts that share most of their
words cannot differ in many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.ingest.checks.tokens import Words

BANDS = 6
"""With three rows a band, texts that share 80 % of their words have a band in common with a
probability of 98.6 %, and texts that share 90 % with 99.96 %."""

_ROWS = 3

_SEED = 0x5EED


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
    starts = words.offsets[:-1]
    bands = np.empty((BANDS, len(starts)), np.uint32)
    if not len(starts):
        none = np.empty(0, np.uint64)
        return Sketches(same=none, bands=bands, bits=none)
    shuffled, high = np.empty_like(words.hashes), np.empty_like(words.hashes)
    for band in range(BANDS):
        found = bands[band]
        found[:] = band
        for multiplier in _MULTIPLIERS[band * _ROWS : (band + 1) * _ROWS]:
            np.multiply(words.hashes, multiplier, out=shuffled)
            # The low bits of a product hardly depend on the high ones of its factor.
            np.right_shift(shuffled, np.uint32(15), out=high)
            shuffled ^= high
            found ^= np.minimum.reduceat(shuffled, starts)
            found *= _MIX
            found ^= found >> np.uint32(16)
    bits = np.uint64(1) << (words.hashes & np.uint32(63)).astype(np.uint64)
    wide = words.hashes.astype(np.uint64)
    wide *= wide
    return Sketches(
        same=np.add.reduceat(wide, starts),
        bands=bands,
        bits=np.bitwise_xor.reduceat(bits, starts),
    )


def _multipliers() -> NDArray[np.uint32]:
    """Return odd numbers: to multiply by one shuffles all numbers of 32 bits."""
    random = np.random.default_rng(_SEED)
    return random.integers(0, 1 << 32, BANDS * _ROWS, dtype=np.uint32) | np.uint32(1)


_MULTIPLIERS = _multipliers()
_MIX = np.uint32(0x9E3779B1)
