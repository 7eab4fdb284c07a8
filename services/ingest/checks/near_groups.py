"""Brings texts that differ in little into groups: candidates by sketches, verified word by word.

Knows texts as numbers only. Memory is bounded by a few numbers for each text; words wait in a
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from services.ingest.checks.sketches import BANDS, Sketches
from services.ingest.checks.tokens import Words

SIMILARITY = 0.8
"""Share of their distinct words that two texts have in common (Jaccard) from which they differ in
little: one word in ten, or none but for case, blanks, punctuation and order in a short text."""

_BLOCK = 1 << 20
"""Texts whose neighbours are looked at at once."""

_PAIRS = 1 << 15
"""Pairs that are verified at once. Their words are read from the file."""


class NearGroups:
    """Takes the words and sketches of all texts, then tells which belong together."""

    def __init__(self, directory: Path) -> None:
        """Open the files.

        Args:
            directory: Scratch; the caller removes it.
        """
        names = ["words", "sizes", "ids", "bits", "same", *(f"band{n}" for n in range(BANDS))]
        self._paths = {name: directory / f"{name}.sketch" for name in names}
        self._files = {name: path.open("wb") for name, path in self._paths.items()}

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
        for name, file in self._files.items():
            file.close()
            self._paths[name].unlink()

    def add(self, words: Words, sketches: Sketches) -> None:
        """Append some texts; ids go up from call to call."""
        bands = {f"band{number}": band for number, band in enumerate(sketches.bands)}
        for name, values in {
            "words": words.hashes,
            "sizes": np.diff(words.offsets).astype(np.uint32),
            "ids": words.ids.astype(np.uint32),
            "bits": sketches.bits,
            "same": sketches.same,
            **bands,
        }.items():
            self._files[name].write(values.data)

    def found(
        self, check: Callable[[], None] = lambda: None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the texts that are in groups, and the first text of the group of each.

        Args:
            check: Called now and then; what it raises ends the search.

        Returns:
            Ids in ascending order, and the least id of each one's group.
        """
        for file in self._files.values():
            file.flush()
        texts = _Texts(
            words=self._paths["words"],
            offsets=_offsets(self._load("sizes")),
            bits=self._load("bits", np.uint64),
        )
        leaders = np.arange(len(texts.bits), dtype=np.uint32)
        # Texts of the same words first: of these, one is enough for what follows.
        for number in range(-1, BANDS):
            keys = self._load(f"band{number}" if number >= 0 else "same").astype(np.uint64)
            keys <<= np.uint64(32)
            if number >= 0:
                keys |= self._load(f"band{(number + 1) % BANDS}")
            alone = leaders == np.arange(len(leaders), dtype=np.uint32)
            for left, right in _candidates(keys, alone):
                check()
                alike = texts.alike(left, right)
                _join(leaders, left[alike], right[alike])
        return _groups(self._load("ids"), leaders)

    def _load(self, name: str, kind: type[np.generic] = np.uint32) -> NDArray[Any]:
        return np.fromfile(self._paths[name], kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """All texts, in the order in which they came."""

    words: Path
    offsets: NDArray[np.uint32]
    bits: NDArray[np.uint64]

    def alike(self, left: NDArray[np.uint32], right: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Tell of each pair whether its texts share enough words."""
        found = np.zeros(len(left), np.bool_)
        close = np.flatnonzero(self._may_be_alike(left, right))
        for start in range(0, len(close), _PAIRS):
            here = close[start : start + _PAIRS]
            found[here] = self._are_alike(left[here], right[here])
        return found

    def _may_be_alike(
        self, left: NDArray[np.uint32], right: NDArray[np.uint32]
    ) -> NDArray[np.bool_]:
        """Tell it by the bits: a word that only one of both has changes at most one of them."""
        differ = np.bitwise_count(self.bits[left] ^ self.bits[right])
        sizes = (self.offsets[1:][left] - self.offsets[left]).astype(np.float32)
        sizes += self.offsets[1:][right] - self.offsets[right]
        limit: NDArray[np.bool_] = differ <= sizes * ((1 - SIMILARITY) / (1 + SIMILARITY))
        return limit

    def _are_alike(self, left: NDArray[np.uint32], right: NDArray[np.uint32]) -> NDArray[np.bool_]:
        # Mapped anew each time, so that the pages of earlier pairs do not add up.
        words = np.memmap(self.words, np.uint32, "r")
        first, first_counts = _distinct(words, left, self.offsets)
        second, second_counts = _distinct(words, right, self.offsets)
        both = np.concatenate([first, second])
        both.sort()
        shared = both[1:][both[1:] == both[:-1]]
        in_common = np.bincount((shared >> np.uint64(32)).astype(np.int64), minlength=len(left))
        enough: NDArray[np.bool_] = in_common >= SIMILARITY * (
            first_counts + second_counts - in_common
        )
        return enough


def _offsets(sizes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return where the words of each text begin; five gigabytes of text have fewer than 2^32."""
    offsets = np.zeros(len(sizes) + 1, np.uint32)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def _candidates(
    keys: NDArray[np.uint64], alone: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint32]]]:
    """Yield pairs of texts whose keys begin with the same 32 bits, some at a time.

    Where many do, those whose other bits are the same stand beside each other. Each is paired with
    its two neighbours only, so that a key that many share costs no more than others.

    Args:
        keys: Of each text.
        alone: Texts that no other leads; the others are passed over.
    """
    places = np.flatnonzero(alone).astype(np.uint32)
    keys = keys[places]
    order = np.argsort(keys)
    texts = places[order]
    hashes = (keys[order] >> np.uint64(32)).astype(np.uint32)
    del keys, order, places
    for start in range(0, len(texts), _BLOCK):
        end = min(start + _BLOCK, len(texts))
        for distance in (1, 2):
            first = max(start, distance)
            here, before = slice(first, end), slice(first - distance, end - distance)
            same = hashes[here] == hashes[before]
            yield texts[here][same], texts[before][same]


def _distinct(
    words: NDArray[np.uint32], texts: NDArray[np.uint32], offsets: NDArray[np.uint32]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the distinct words of texts, each with its pair's number above it, and their count."""
    starts = offsets[texts].astype(np.int64)
    sizes = offsets[1:][texts] - starts
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
