"""Pairs of texts that may be alike, and which of them are.

Knows texts as numbers only, and nothing of groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIMILARITY = 0.8
"""Share of their distinct words that two texts have in common (Jaccard) from which they differ in
little: one word in ten, or none but for case, blanks, punctuation and order in a short text."""

_PART = 1 << 20
"""Texts that a thread sorts at once, about."""

_SLICE = 1 << 15
"""Sorted texts that are compared at once: their arrays fit a processor's cache."""

_WORDS = 1 << 20
"""Words of pairs that are verified at once, about."""

_WINDOW = 1 << 23
"""Numbers of a file that are mapped at once: what is mapped counts as memory."""

Texts = NDArray[np.uint32]
"""Texts by their place in an order that depends on their words alone."""

Pairs = tuple[Texts, Texts]
"""Texts and, for each, another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """What is compared of all texts."""

    words: Path
    """The hashes of the distinct words of each text, uint32."""

    offsets: Path
    """Where in that file the words of each text begin, uint32."""

    sizes: NDArray[np.uint16]
    """Distinct words of each text."""

    bits: NDArray[np.uint64]
    """Of each text; a word that only one of two texts has changes at most one of them."""

    neighbours: int
    """Texts of the same band that each is compared with."""

    def candidates(
        self, band: NDArray[np.uint32], another: NDArray[np.uint32], alone: NDArray[np.bool_]
    ) -> Iterator[Callable[[], Pairs]]:
        """Yield what finds pairs of texts that share a band and may be alike, part by part.

        Args:
            band: Of each text.
            another: By which texts are sorted that share the first.
            alone: Which texts are looked at.
        """
        parts = len(band) // _PART + 1
        width = -(-(1 << 32) // parts)
        last = np.uint32(width - 1)

        def part(least: np.uint32) -> Pairs:
            texts = _in_range(band, least, last)
            texts = texts[alone[texts]]
            return self._neighbours(band[texts], another[texts], texts)

        for number in range(parts):
            yield partial(part, np.uint32(number * width))

    def _neighbours(
        self, band: NDArray[np.uint32], another: NDArray[np.uint32], texts: Texts
    ) -> Pairs:
        """Pair each text with a few before it that share the band.

        So a band that many share costs no more than others; those that are close in another band
        too are neighbours in it.
        """
        # Sorting numbers is many times faster than sorting indices by them: 28 bits of the band,
        # then as much of the other as the number of the text leaves room for.
        width = np.uint64(len(texts).bit_length())
        keys = band.astype(np.uint64)
        keys >>= np.uint64(4)
        keys <<= np.uint64(32)
        keys |= another
        keys <<= np.uint64(4)
        keys >>= width
        keys <<= width
        keys |= np.arange(len(texts), dtype=np.uint64)
        keys.sort()
        found = [
            self._close(keys[start : start + _SLICE + self.neighbours], texts, width)
            for start in range(0, len(keys), _SLICE)
        ]
        return joined(found)

    def _close(self, keys: NDArray[np.uint64], texts: Texts, width: np.uint64) -> Pairs:
        bands = keys >> np.uint64(36)
        # Most texts that share nothing are out here, before their bits are looked up.
        shared = bands[1:] == bands[:-1]
        shared = np.append(shared, False)
        shared[1:] |= shared[:-1]
        crowded = np.flatnonzero(shared)
        bands = bands[crowded]
        numbers = keys[crowded] & ((np.uint64(1) << width) - np.uint64(1))
        texts = texts[numbers.view(np.int64)]
        bits, sizes = self.bits[texts], self.sizes[texts]
        found = []
        for distance in range(1, self.neighbours + 1):
            close = bands[distance:] == bands[:-distance]
            close &= _may_be_alike(
                bits[distance:] ^ bits[:-distance], sizes[distance:] + sizes[:-distance]
            )
            places = np.flatnonzero(close)
            found.append((texts[places + distance], texts[places]))
        return joined(found)

    def verified(self, pairs: Pairs) -> Iterator[Callable[[], Pairs]]:
        """Yield what finds the pairs that share enough words, part by part."""
        left, right = pairs
        words = np.cumsum(self.sizes[left].astype(np.int64) + self.sizes[right])
        start = 0
        while start < len(left):
            limit = _WORDS + (words[start - 1] if start else 0)
            end = max(int(np.searchsorted(words, limit, side="right")), start + 1)
            yield partial(self._alike, left[start:end], right[start:end])
            start = end

    def _alike(self, left: Texts, right: Texts) -> Pairs:
        texts = np.concatenate([left, right])
        pairs = np.tile(np.arange(len(left), dtype=np.uint64), 2)
        # In the order of each file, so that what is close in it is mapped once.
        order = np.argsort(texts)
        texts, pairs = texts[order], pairs[order]
        offsets = _read(self.offsets, texts.astype(np.int64), np.ones(len(texts), np.int64))
        order = np.argsort(offsets)
        texts, pairs, offsets = texts[order], pairs[order], offsets[order]
        sizes = self.sizes[texts].astype(np.int64)
        keyed = np.repeat(pairs << np.uint64(32), sizes)
        keyed |= _read(self.words, offsets.astype(np.int64), sizes)
        keyed.sort()
        shared = keyed[1:][keyed[1:] == keyed[:-1]] >> np.uint64(32)
        in_common = np.bincount(shared.view(np.int64), minlength=len(left))
        together = self.sizes[left].astype(np.int64) + self.sizes[right]
        enough = in_common >= SIMILARITY * (together - in_common)
        return left[enough], right[enough]


def _in_range(band: NDArray[np.uint32], least: np.uint32, last: np.uint32) -> Texts:
    """Return the texts whose band is `least` or at most `last` more."""
    # Differences below the least wrap round.
    return np.concatenate(
        [
            np.flatnonzero(band[start : start + _SLICE] - least <= last).astype(np.uint32)
            + np.uint32(start)
            for start in range(0, max(len(band), 1), _SLICE)
        ]
    )


def _read(path: Path, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the numbers in some ranges of a file.

    Args:
        path: Of uint32.
        starts: Where the ranges begin, ascending; one may occur several times.
        sizes: Numbers of each range; ranges do not overlap otherwise.
    """
    ends = np.cumsum(sizes)
    places = np.repeat(starts - (ends - sizes), sizes)
    places += np.arange(len(places))
    found = np.empty(len(places), np.uint32)
    done = 0
    while done < len(starts):
        first = int(starts[done])
        stop = int(np.searchsorted(starts, first + _WINDOW))
        width = int(starts[stop - 1] + sizes[stop - 1]) - first
        window = np.memmap(path, np.uint32, "r", 4 * first, width)
        here = slice(ends[done] - sizes[done], ends[stop - 1])
        found[here] = window[places[here] - first]
        done = stop
    return found


def _may_be_alike(differ: NDArray[np.uint64], sizes: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Tell it by the bits.

    Args:
        differ: The bits that one of both has.
        sizes: Words of both together.
    """
    least = np.bitwise_count(differ) * _DIFFERENCE
    may_be: NDArray[np.bool_] = least <= sizes
    return may_be


_DIFFERENCE = np.uint16(round((1 + SIMILARITY) / (1 - SIMILARITY)))
"""Of the words of two texts that are alike, both counted, at most one in so many is in one only."""


def joined(found: list[Pairs]) -> Pairs:
    """Return the pairs of all."""
    if not found:
        none = np.empty(0, np.uint32)
        return none, none
    left, right = zip(*found, strict=True)
    return np.concatenate(left), np.concatenate(right)
