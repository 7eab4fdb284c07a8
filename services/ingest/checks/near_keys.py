"""Brings texts into the order of their bands, by one number for each.

Owns how bands and places share 64 bits. Knows nothing of what is alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 18
"""Texts whose bands are read at once."""

_BAND_BITS = 28
"""Of a band's 32 that count: one pair in some hundred million is compared in vain for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Texts in the order of a band, and of the next one where they share it."""

    keys: NDArray[np.uint64]
    """The band, as much of the next one as there is room for, and a place in `texts`; ascending."""

    texts: NDArray[np.uint32]
    """The same texts in their own order."""

    shared_bits: int
    """Of the band, which all of these texts have in common."""

    def bands(self, start: int, end: int) -> NDArray[np.uint64]:
        """Return numbers that are equal where texts share the band, and nowhere else."""
        return self.keys[start:end] >> np.uint64(64 - _BAND_BITS + self.shared_bits)

    def at(self, places: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the texts at some places of this order."""
        mask = np.uint64((1 << len(self.texts).bit_length()) - 1)
        return self.texts[(self.keys[places] & mask).view(np.int64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """The bands of all texts, in files of which little is in memory at once."""

    paths: Sequence[Path]
    """Of each band one for each text, uint32."""

    alone: NDArray[np.bool_]
    """Which texts are looked at, shape (texts)."""

    part: int = 1 << 22
    """Texts that are sorted at once, at most, if bands are spread evenly."""

    def in_order(self, number: int) -> Iterator[Callable[[], Sorted]]:
        """Yield what sorts the texts by a band, part by part.

        Args:
            number: Of the band.
        """
        shared_bits = (len(self.alone) // self.part).bit_length()
        for part in range(1 << shared_bits):
            yield partial(self._sorted, number, np.uint32(part), shared_bits)

    def _sorted(self, number: int, part: np.uint32, shared_bits: int) -> Sorted:
        found, keyed = [np.empty(0, np.uint32)], [np.empty(0, np.uint64)]
        for start in range(0, len(self.alone), _CHUNK):
            band = self._read(number, start)
            here = self.alone[start : start + _CHUNK]
            if shared_bits:
                here = here & (band >> np.uint32(32 - shared_bits) == part)
            places = np.flatnonzero(here)
            keys = band[places].astype(np.uint64)
            keys >>= np.uint64(32 - _BAND_BITS)
            keys <<= np.uint64(32)
            keys |= self._read((number + 1) % len(self.paths), start)[places]
            found.append(places.astype(np.uint32) + np.uint32(start))
            keyed.append(keys)
        texts, keys = np.concatenate(found), np.concatenate(keyed)
        del found, keyed
        # Sorting numbers is many times faster than sorting places by them.
        width = np.uint64(len(texts).bit_length())
        keys <<= np.uint64(32 - _BAND_BITS + shared_bits)
        keys >>= width
        keys <<= width
        keys |= np.arange(len(keys), dtype=np.uint64)
        keys.sort()
        return Sorted(keys=keys, texts=texts, shared_bits=shared_bits)

    def _read(self, number: int, start: int) -> NDArray[np.uint32]:
        return np.fromfile(self.paths[number], np.uint32, _CHUNK, offset=4 * start)
