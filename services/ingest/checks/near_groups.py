"""Brings texts that differ in little into groups: candidates by sketches, verified word by word.

Knows texts as numbers only. Memory is bounded by a few numbers for each text; words wait in a
file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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

_PART = 1 << 21
"""Texts that a thread sorts at once, about."""

_NEIGHBOURS = 4
"""Texts of the same band that each is compared with."""

_PAIRS = 512
"""Pairs that are verified at once. The words of each may touch two stretches of the mapped file,
64 KiB of memory each."""

_Texts = NDArray[np.uint32]
"""Texts by their place in the order of their words."""


class NearGroups:
    """Takes the words and sketches of all texts, then tells which belong together.

    Which texts are compared depends on the texts alone, not on the order in which they came.
    """

    def __init__(self, directory: Path) -> None:
        """Open the files.

        Args:
            directory: Scratch; the caller removes it.
        """
        names = [
            "words",
            "offsets",
            "sizes",
            "ids",
            "bits",
            "same",
            *(f"band{n}" for n in range(BANDS)),
        ]
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
            "sizes": np.diff(words.offsets).astype(np.uint16),
            "ids": words.ids.astype(np.uint32),
            "bits": sketches.bits,
            "same": sketches.same,
            **bands,
        }.items():
            self._files[name].write(values.data)

    def found(
        self, *, threads: int = 1, check: Callable[[], None] = lambda: None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the texts that are in groups, and the first text of the group of each.

        Args:
            threads: Parts that are worked on at once.
            check: Called now and then; what it raises ends the search.

        Returns:
            Ids in ascending order, and the least id of each one's group.
        """
        for file in self._files.values():
            file.flush()
        followers = self._sort(threads)
        comparison = _Comparison(
            words=self._paths["words"],
            offsets=self._load("offsets"),
            sizes=self._load("sizes", np.uint16),
            bits=self._load("bits", np.uint64),
        )
        leaders = np.arange(len(comparison.sizes), dtype=np.uint32)
        with ThreadPoolExecutor(threads) as pool:

            def join(parts: Iterator[Callable[[], _Pairs]]) -> None:
                for left, right in _ahead(pool, parts, threads):
                    check()
                    _join(leaders, left, right)

            # Texts of the same words first: of these, one is enough for what follows.
            join(comparison.of_neighbours(followers))
            for number in range(BANDS):
                band, another = (
                    self._load(f"band{number}"),
                    self._load(f"band{(number + 1) % BANDS}"),
                )
                join(comparison.of_band(band, another, leaders))
        return _groups(self._load("ids"), leaders)

    def _sort(self, threads: int) -> _Texts:
        """Put all files but that of the words in the order of what tells the same words.

        Returns:
            The texts that have the same words as the one before.
        """
        same = self._load("same", np.uint64)
        order = np.argsort(same).astype(np.uint32)
        same = same[order]
        followers = (np.flatnonzero(same[1:] == same[:-1]) + 1).astype(np.uint32)
        del same
        offsets = np.zeros(len(order), np.uint32)
        # Five gigabytes of text have fewer than 2^32 words.
        np.cumsum(self._load("sizes", np.uint16)[:-1], out=offsets[1:])
        offsets[order].tofile(self._paths["offsets"])
        kinds: dict[str, type[np.generic]] = {"sizes": np.uint16, "bits": np.uint64}

        def sort(name: str) -> None:
            self._load(name, kinds.get(name, np.uint32))[order].tofile(self._paths[name])

        with ThreadPoolExecutor(threads) as pool:
            bands = [f"band{number}" for number in range(BANDS)]
            list(pool.map(sort, ["ids", "sizes", "bits", *bands]))
        return followers

    def _load(self, name: str, kind: type[np.generic] = np.uint32) -> NDArray[Any]:
        return np.fromfile(self._paths[name], kind)


_Pairs = tuple[_Texts, _Texts]
"""Texts and, for each, another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """Compares texts that stand side by side, part by part."""

    words: Path
    offsets: NDArray[np.uint32]
    """Where in the file the words of each text begin."""

    sizes: NDArray[np.uint16]
    bits: NDArray[np.uint64]

    def of_neighbours(self, texts: _Texts) -> Iterator[Callable[[], _Pairs]]:
        """Yield what compares some of the texts with the one before each."""
        for start in range(0, len(texts), _PART):
            here = texts[start : start + _PART]
            yield partial(self._verified, here, here - np.uint32(1))

    def of_band(
        self, band: NDArray[np.uint32], another: NDArray[np.uint32], leaders: NDArray[np.uint32]
    ) -> Iterator[Callable[[], _Pairs]]:
        """Yield what compares texts that share a band and that no other leads.

        Args:
            band: Of each text.
            another: By which texts are sorted that share the first.
            leaders: Of each text, as they are when the first part is asked for.
        """
        alone = leaders == np.arange(len(leaders), dtype=np.uint32)
        parts = len(band) // _PART + 2
        width = np.uint32((1 << 32) // parts + 1)
        for number in range(parts):
            # Differences below the least wrap round, and are too large.
            least = np.uint32(number) * width

            def part(least: np.uint32 = least) -> _Pairs:
                texts = np.flatnonzero((band - least < width) & alone).astype(np.uint32)
                return self._of_part(band[texts] - least, another[texts], texts)

            yield part

    def _of_part(
        self, band: NDArray[np.uint32], another: NDArray[np.uint32], texts: _Texts
    ) -> _Pairs:
        """Compare each text with a few before it that share the band.

        So a band that many share costs no more than others; those that are close in another band
        too are neighbours in it.
        """
        # Sorting numbers is many times faster than sorting indices by them: 28 bits of the band,
        # then as much of the other as the number of the text leaves room for.
        width = np.uint64(len(texts).bit_length())
        keys = (band >> np.uint32(4)).astype(np.uint64) << np.uint64(37)
        keys |= another.astype(np.uint64) << np.uint64(5)
        keys >>= width
        keys <<= width
        keys |= np.arange(len(texts), dtype=np.uint64)
        keys.sort()
        keys &= (np.uint64(1) << width) - np.uint64(1)
        places = keys.view(np.int64)
        texts, keys = texts[places], band[places]
        shared = keys[1:] == keys[:-1]
        # Most texts that share nothing are out here, before their bits are looked up.
        crowded = np.zeros(len(texts), np.bool_)
        crowded[1:] = shared
        crowded[:-1] |= shared
        texts, keys = texts[crowded], keys[crowded]
        bits, sizes = self.bits[texts], self.sizes[texts].astype(np.uint32)
        found = []
        for distance in range(1, _NEIGHBOURS + 1):
            close = keys[distance:] == keys[:-distance]
            close &= _may_be_alike(
                bits[distance:] ^ bits[:-distance], sizes[distance:] + sizes[:-distance]
            )
            places = np.flatnonzero(close)
            found.append(self._verified(texts[places + distance], texts[places]))
        left, right = zip(*found, strict=True)
        return np.concatenate(left), np.concatenate(right)

    def _verified(self, left: _Texts, right: _Texts) -> _Pairs:
        """Return the pairs that share enough words."""
        found = np.zeros(len(left), np.bool_)
        for start in range(0, len(left), _PAIRS):
            here = slice(start, start + _PAIRS)
            found[here] = self._are_alike(left[here], right[here])
        return left[found], right[found]

    def _are_alike(self, left: _Texts, right: _Texts) -> NDArray[np.bool_]:
        both = np.concatenate([left, right])
        sizes = self.sizes[both].astype(np.int64)
        pairs = np.arange(len(left), dtype=np.uint64)
        keyed = np.repeat(np.concatenate([pairs, pairs]) << np.uint64(32), sizes)
        skipped = self.offsets[both] - (np.cumsum(sizes) - sizes)
        places = np.arange(len(keyed)) + np.repeat(skipped, sizes)
        # Mapped anew each time, so that the pages of earlier pairs do not add up.
        keyed |= np.memmap(self.words, np.uint32, "r")[places]
        keyed.sort()
        shared = keyed[1:][keyed[1:] == keyed[:-1]] >> np.uint64(32)
        in_common = np.bincount(shared.astype(np.int64), minlength=len(left))
        together = sizes[: len(left)] + sizes[len(left) :]
        enough: NDArray[np.bool_] = in_common >= SIMILARITY * (together - in_common)
        return enough


def _may_be_alike(differ: NDArray[np.uint64], sizes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Tell it by the bits: a word that only one of two texts has changes at most one of them.

    Args:
        differ: The bits that one of both has.
        sizes: Words of both together.
    """
    most = sizes * np.float32((1 - SIMILARITY) / (1 + SIMILARITY)) + np.float32(1e-3)
    limit: NDArray[np.bool_] = np.bitwise_count(differ) <= most
    return limit


def _ahead(
    pool: ThreadPoolExecutor, parts: Iterator[Callable[[], _Pairs]], threads: int
) -> Iterator[_Pairs]:
    """Yield what parts return, in order, while the pool works on the next."""
    waiting: deque[Future[_Pairs]] = deque()
    for part in parts:
        waiting.append(pool.submit(part))
        if len(waiting) > threads:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _join(leaders: NDArray[np.uint32], left: _Texts, right: _Texts) -> None:
    """Let the texts of each pair, and all that they lead, have the least of them as leader."""
    while len(left):
        left, right = _lead(leaders, left), _lead(leaders, right)
        differ = left != right
        left, right = left[differ], right[differ]
        np.minimum.at(leaders, np.maximum(left, right), np.minimum(left, right))


def _lead(leaders: NDArray[np.uint32], texts: _Texts) -> _Texts:
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
    groups, number = np.unique(leaders_of_led, return_inverse=True)
    members = ids[np.concatenate([groups, led])].astype(np.int64)
    number = np.concatenate([np.arange(len(groups)), number])
    first = np.full(len(groups), np.iinfo(np.int64).max)
    np.minimum.at(first, number, members)
    order = np.argsort(members)
    return members[order], first[number[order]]
