"""Brings texts that differ in little into groups: candidates by sketches, verified word by word.

Knows texts as numbers only. Memory is bounded by a few numbers for each text; words wait in a
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.ingest.checks.sketches import BANDS
from services.ingest.checks.tokens import Words

SIMILARITY = 0.8
"""Share of their distinct words that two texts have in common (Jaccard) from which they differ in
little: one word in ten, or none but for case, blanks, punctuation and order in a short text."""

_PAIRS = 1 << 15
"""Pairs that are verified at once. Their words are read from the file."""


class NearGroups:
    """Takes the words and bands of all texts, then tells which belong together."""

    def __init__(self, directory: Path) -> None:
        """Open the files.

        Args:
            directory: Scratch; the caller removes it.
        """
        self._words_path = directory / "words.u32"
        self._band_paths = [directory / f"band{number}.u32" for number in range(1 + BANDS)]
        self._words = self._words_path.open("wb")
        self._bands = [path.open("wb") for path in self._band_paths]
        self._ids: list[NDArray[np.uint32]] = []
        self._sizes: list[NDArray[np.uint32]] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the files."""
        for file in (self._words, *self._bands):
            file.close()
        for path in (self._words_path, *self._band_paths):
            path.unlink()

    def add(self, words: Words, bands: NDArray[np.uint32]) -> None:
        """Append some texts.

        Args:
            words: Their words.
            bands: Their band hashes, shape (1 + BANDS, texts).
        """
        self._ids.append(words.ids.astype(np.uint32))
        self._sizes.append(np.diff(words.offsets).astype(np.uint32))
        self._words.write(words.hashes.data)
        for file, band in zip(self._bands, bands, strict=True):
            file.write(band.data)

    def found(
        self, check: Callable[[], None] = lambda: None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the texts that are in groups, and the first text of the group of each.

        Args:
            check: Called now and then; what it raises ends the search.

        Returns:
            Ids in ascending order, and the least id of each one's group.
        """
        for file in (self._words, *self._bands):
            file.flush()
        if not self._ids:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        ids = np.concatenate(self._ids)
        offsets = np.zeros(len(ids) + 1, np.int64)
        np.cumsum(np.concatenate(self._sizes), out=offsets[1:])
        self._ids, self._sizes = [], []
        leaders = np.arange(len(ids), dtype=np.uint32)
        for path in self._band_paths:
            for left, right in _candidates(path, leaders):
                check()
                alike = self._verify(left, right, offsets)
                _join(leaders, left[alike], right[alike])
        return _groups(ids, leaders)

    def _verify(
        self, left: NDArray[np.uint32], right: NDArray[np.uint32], offsets: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Tell of each pair whether it is alike."""
        # Mapped anew each time, so that the pages of earlier pairs do not add up.
        words = np.memmap(self._words_path, np.uint32, "r")
        first, first_pairs = _distinct(words, left, offsets)
        second, second_pairs = _distinct(words, right, offsets)
        both = np.sort(np.concatenate([first, second]))
        shared = both[1:][both[1:] == both[:-1]]
        in_common = np.bincount((shared >> np.uint64(32)).astype(np.int64), minlength=len(left))
        in_any = first_pairs + second_pairs - in_common
        return in_common >= SIMILARITY * in_any


def _candidates(
    path: Path, leaders: NDArray[np.uint32]
) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint32]]]:
    """Yield pairs of texts with the same band hash, some at a time.

    Each text is paired with the first and the next one of its hash, not with all: a hash that
    many share costs no more than others. Texts that others lead already are left to those.
    """
    places = np.flatnonzero(leaders == np.arange(len(leaders), dtype=np.uint32))
    packed = np.fromfile(path, np.uint32)[places].astype(np.uint64) << np.uint64(32)
    packed |= places.astype(np.uint64)
    del places
    packed.sort()
    hashes = (packed >> np.uint64(32)).astype(np.uint32)
    packed &= np.uint64(0xFFFFFFFF)
    texts = packed.astype(np.uint32)
    del packed
    is_later = np.empty(len(hashes), np.bool_)
    is_later[:1] = False
    np.equal(hashes[1:], hashes[:-1], out=is_later[1:])
    del hashes
    later = np.flatnonzero(is_later)
    firsts = np.flatnonzero(~is_later)
    # In each bucket the first text stands before all later ones.
    first_of = firsts[np.searchsorted(firsts, later, side="right") - 1]
    for start in range(0, len(later), _PAIRS):
        here = later[start : start + _PAIRS]
        yield texts[here], texts[here - 1]
        behind_second = here - 1 != first_of[start : start + _PAIRS]
        yield texts[here][behind_second], texts[first_of[start : start + _PAIRS]][behind_second]


def _distinct(
    words: NDArray[np.uint32], texts: NDArray[np.uint32], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the distinct words of texts, each with its pair's number above it, and their count."""
    starts = offsets[texts]
    sizes = offsets[texts.astype(np.int64) + 1] - starts
    pairs = np.repeat(np.arange(len(texts)), sizes)
    before = np.cumsum(sizes) - sizes
    places = np.arange(len(pairs)) + np.repeat(starts - before, sizes)
    keyed = (pairs.astype(np.uint64) << np.uint64(32)) | words[places]
    keyed.sort()
    keyed = keyed[np.append(True, keyed[1:] != keyed[:-1])] if len(keyed) else keyed
    counts = np.bincount((keyed >> np.uint64(32)).astype(np.int64), minlength=len(texts))
    return keyed, counts


def _join(leaders: NDArray[np.uint32], left: NDArray[np.uint32], right: NDArray[np.uint32]) -> None:
    """Let the texts of each pair, and all that they lead, have the least of them as leader."""
    while len(left):
        left, right = _lead(leaders, left), _lead(leaders, right)
        differ = left != right
        left, right = left[differ], right[differ]
        np.minimum.at(leaders, np.maximum(left, right), np.minimum(left, right))


def _lead(leaders: NDArray[np.uint32], texts: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return who leads each text in the end."""
    found = leaders[texts]
    while not np.array_equal(further := leaders[found], found):
        found = further
    return found


def _groups(
    ids: NDArray[np.uint32], leaders: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return members and the least id of each one's group; those who stand alone are left out."""
    led = np.flatnonzero(leaders != np.arange(len(leaders), dtype=np.uint32)).astype(np.uint32)
    leaders_of_led = _lead(leaders, led)
    first = np.unique(leaders_of_led)
    members = np.concatenate([first, led])
    of_members = np.concatenate([first, leaders_of_led])
    # Rows came in ascending order, so that the leader has the least id.
    order = np.argsort(members)
    return ids[members[order]].astype(np.int64), ids[of_members[order]].astype(np.int64)
