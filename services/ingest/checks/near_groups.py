"""Brings texts that differ in little into groups: candidates by sketches, verified word by word.

Knows texts as numbers only. Memory is bounded by a few numbers for each text; words wait in a
file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.ingest.checks.near_keys import Bands
from services.ingest.checks.near_pairs import Pairing, Pairs, Texts, joined
from services.ingest.checks.sketches import BANDS, Sketches
from services.ingest.checks.tokens import Words

_T = TypeVar("_T")

_NEIGHBOURS = (4, 32)
"""Least and most texts of the same band that each is compared with: the more, the fewer pairs of
a crowd are missed."""

_COMPARED = 1 << 22
"""Texts that are compared in a band, about, as far as the least of neighbours allow."""

_CHUNK = 1 << 20
"""Numbers that are written to a file at once."""

_PAIRS = 1 << 17
"""Pairs that are verified together, about: the more, the closer together lie their words; the
fewer, the more of the next are in one group already."""


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
        """Append some texts, in any order."""
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
        leaders = self._leaders(threads, check)
        return _groups(self._load("ids"), leaders)

    def _leaders(self, threads: int, check: Callable[[], None]) -> Texts:
        """Return of each text the first in order that is in the same group; maybe by others."""
        with ThreadPoolExecutor(threads) as pool:
            followers = self._sort(pool)
            pairing = Pairing(
                words=self._paths["words"],
                offsets=self._paths["offsets"],
                sizes=self._load("sizes"),
                bits=self._load("bits"),
                neighbours=self._neighbours(),
            )
            leaders = np.arange(len(pairing.sizes), dtype=np.uint32)
            _join(leaders, followers, followers - np.uint32(1))
            # Of texts of the same words, one is enough for what follows.
            first = np.ones(len(leaders), np.bool_)
            first[followers] = False
            paths = [self._paths[f"band{number}"] for number in range(BANDS)]
            bands = Bands(paths=paths, alone=first)
            parts = chain.from_iterable(map(bands.in_order, range(BANDS)))
            for order in _ahead(pool, parts, 1):
                for pairs in _batches(_ahead(pool, pairing.candidates(order), threads)):
                    check()
                    verified = pairing.verified(_apart(leaders, pairs))
                    for left, right in _ahead(pool, verified, threads):
                        _join(leaders, left, right)
        return leaders

    def _sort(self, pool: ThreadPoolExecutor) -> Texts:
        """Put all files but that of the words in the order of what tells the same words.

        So what is found does not depend on the order of rows.

        Returns:
            The texts that have the same words as the one before, by 64 bits: others agree in them
            once in many thousand data sets of the largest size.
        """
        order = self._order()
        same = self._load("same")
        followers = np.concatenate(
            [
                _repeated(same[order[start : start + _CHUNK + 1]]) + np.uint32(start)
                for start in range(0, max(len(order), 1), _CHUNK)
            ]
        )
        del same
        # Five gigabytes of text have fewer than 2^32 words.
        ends = np.cumsum(self._load("sizes"), dtype=np.uint32)
        np.append(np.uint32(0), ends[:-1]).tofile(self._paths["offsets"])
        del ends

        def sort(name: str) -> None:
            values = self._load(name)
            with self._paths[name].open("wb") as file:
                for start in range(0, len(order), _CHUNK):
                    values[order[start : start + _CHUNK]].tofile(file)

        bands = (f"band{number}" for number in range(BANDS))
        list(pool.map(sort, ["bits", "ids", "sizes", "offsets", *bands]))
        return followers

    def _order(self) -> Texts:
        """Return the order of what tells the same words.

        Sorting numbers is many times faster than sorting places by them: as many of the bits as
        the place of the text leaves room for.
        """
        keys = self._load("same")
        width = np.uint64(len(keys).bit_length())
        keys >>= width
        keys <<= width
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            part |= np.arange(start, start + len(part), dtype=np.uint64)
        keys.sort()
        keys &= (np.uint64(1) << width) - np.uint64(1)
        return keys.astype(np.uint32)

    def _neighbours(self) -> int:
        least, most = _NEIGHBOURS
        texts = self._paths["ids"].stat().st_size // 4
        return max(least, min(most, _COMPARED // max(texts, 1)))

    def _load(self, name: str) -> NDArray[Any]:
        return np.fromfile(self._paths[name], _KINDS.get(name, np.uint32))


_KINDS: dict[str, type[np.generic]] = {
    "same": np.uint64,
    "bits": np.uint64,
    "sizes": np.uint16,
}
"""Of the numbers in each file where they are not uint32."""


def _repeated(same: NDArray[np.uint64]) -> Texts:
    """Return the places of numbers that are as the one before."""
    return (np.flatnonzero(same[1:] == same[:-1]) + 1).astype(np.uint32)


def _batches(found: Iterator[Pairs]) -> Iterator[Pairs]:
    """Yield the same pairs, about `_PAIRS` at once."""
    waiting: list[Pairs] = []
    for pairs in found:
        waiting.append(pairs)
        if sum(len(left) for left, _ in waiting) >= _PAIRS:
            yield joined(waiting)
            waiting.clear()
    yield joined(waiting)


def _ahead(pool: ThreadPoolExecutor, parts: Iterator[Callable[[], _T]], ahead: int) -> Iterator[_T]:
    """Yield what parts return, in order, while the pool works on the next."""
    waiting: deque[Future[_T]] = deque()
    for part in parts:
        waiting.append(pool.submit(part))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _join(leaders: NDArray[np.uint32], left: Texts, right: Texts) -> None:
    """Let the texts of each pair, and all that they lead, have the least of them as leader."""
    while len(left):
        left, right = _lead(leaders, left), _lead(leaders, right)
        differ = left != right
        left, right = left[differ], right[differ]
        np.minimum.at(leaders, np.maximum(left, right), np.minimum(left, right))


def _lead(leaders: NDArray[np.uint32], texts: Texts) -> Texts:
    """Return who leads each text in the end."""
    found = leaders[texts]
    while not np.array_equal(further := leaders[found], found):
        found = further
    return found


def _apart(leaders: NDArray[np.uint32], pairs: Pairs) -> Pairs:
    """Return the pairs that are not in one group yet."""
    left, right = pairs
    apart = _lead(leaders, left) != _lead(leaders, right)
    return left[apart], right[apart]


def _groups(
    ids: NDArray[np.uint32], leaders: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return members and the least id of each one's group; those who stand alone are left out."""
    own = np.arange(len(leaders), dtype=np.uint32)
    led = own[leaders != own]
    del own
    leaders_of_led = _lead(leaders, led)
    groups, number = np.unique(leaders_of_led, return_inverse=True)
    members = ids[np.concatenate([groups, led])].astype(np.int64)
    number = np.concatenate([np.arange(len(groups)), number])
    first = np.full(len(groups), np.iinfo(np.int64).max)
    np.minimum.at(first, number, members)
    order = np.argsort(members)
    return members[order], first[number[order]]
