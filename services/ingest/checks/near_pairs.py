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

from services.ingest.checks.near_keys import Sorted

SIMILARITY = 0.8
"""Share of their distinct words that two texts have in common (Jaccard) from which they differ in
little: one word in ten, or none but for case, blanks, punctuation and order in a short text."""

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

    def candidates(self, order: Sorted) -> Iterator[Callable[[], Pairs]]:
        """Yield what finds pairs of texts that share a band and may be alike, part by part.

        Each text is paired with a few before it that share the band. So a band that many share
        costs no more than others; those that are close in another band too are neighbours in it.

        Args:
            order: Of the band.
        """
        for start in range(0, len(order.keys), _SLICE):
            yield partial(self._close, order, start)

    def _close(self, order: Sorted, start: int) -> Pairs:
        bands = order.bands(start, start + _SLICE + self.neighbours)
        # Most texts that share nothing are out here, before their bits are looked up.
        shared = bands[1:] == bands[:-1]
        shared = np.append(shared, False)
        shared[1:] |= shared[:-1]
        crowded = np.flatnonzero(shared)
        bands = bands[crowded]
        texts = order.at(crowded + start)
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
