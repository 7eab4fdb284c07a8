"""Finds pairs of texts that may be alike, without comparing each with each.

Every text has a few band hashes (MinHash): two texts that share most of their words have one of
them in common, with a probability that is told below. Hashes of 30 million texts do not fit into
memory beside everything else, so they wait in files, one for each band.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.ingest.checks.tokens import Words

BANDS = 6
"""With three rows a band, texts that share 80 % of their words have a band in common with a
probability of 98.6 %, and texts that share 90 % with 99.96 %."""

_ROWS = 3

_SEED = 0x5EED


def _multipliers() -> NDArray[np.uint32]:
    """Return odd numbers: to multiply by one shuffles all numbers of 32 bits."""
    random = np.random.default_rng(_SEED)
    return random.integers(0, 1 << 32, BANDS * _ROWS, dtype=np.uint32) | np.uint32(1)


_MULTIPLIERS = _multipliers()
_MIX = np.uint32(0x9E3779B1)


def bands_of(words: Words) -> NDArray[np.uint32]:
    """Return the band hashes of each text, shape (1 + BANDS, texts).

    The first tells texts with the same words, in whatever order.
    """
    starts = words.offsets[:-1]
    bands = np.empty((1 + BANDS, len(starts)), np.uint32)
    if not len(starts):
        return bands
    bands[0] = np.add.reduceat(words.hashes, starts)
    shuffled = np.empty_like(words.hashes)
    for band in range(BANDS):
        found = bands[1 + band]
        found[:] = band
        for multiplier in _MULTIPLIERS[band * _ROWS : (band + 1) * _ROWS]:
            np.multiply(words.hashes, multiplier, out=shuffled)
            # The low bits of a product hardly depend on the high ones of its factor.
            shuffled ^= shuffled >> np.uint32(15)
            found ^= np.minimum.reduceat(shuffled, starts)
            found *= _MIX
            found ^= found >> np.uint32(16)
    return bands
