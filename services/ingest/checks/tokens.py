"""Words of texts as hashes, taken from their bytes by arrays: a Python object for none of them.

A word is a run of letters and digits in any case; blanks and punctuation part words and count
for nothing. A character of three bytes or more is a word by itself, since scripts such as Chinese,
Japanese and Thai are written without blanks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.ingest.arrow_stream import TextBatch

_PIECE_BYTES = 1 << 17
"""Texts that are worked on at once: their arrays fit a processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The distinct words of some texts."""

    ids: NDArray[np.int64]
    """What each text is called, shape (texts)."""

    hashes: NDArray[np.uint32]
    """Ascending within each text, shape (words)."""

    offsets: NDArray[np.int64]
    """Where the words of each text begin, and behind the last where they end, shape (texts + 1)."""


def pieces_of(batch: TextBatch) -> Iterator[TextBatch]:
    """Yield the texts of a batch in pieces that are best worked on at once."""
    last = len(batch.ids)
    start = 0
    while start < last:
        limit = batch.offsets[start] + _PIECE_BYTES
        end = max(int(np.searchsorted(batch.offsets, limit, side="right")) - 1, start + 1)
        first, behind = batch.offsets[start], batch.offsets[end]
        yield TextBatch(
            ids=batch.ids[start:end],
            offsets=batch.offsets[start : end + 1] - first,
            data=batch.data[first:behind],
        )
        start = end


def words_of(piece: TextBatch) -> Words:
    """Return the words of some texts; those without any are left out.

    Args:
        piece: Of texts whose letters beyond ASCII are in lower case.
    """
    hashes, bounds = _distinct(*_hash_words(piece.data, piece.offsets))
    filled = bounds[1:] > bounds[:-1]
    offsets = np.append(bounds[:-1][filled], bounds[-1])
    return Words(ids=piece.ids[filled], hashes=hashes, offsets=offsets)


def _distinct(
    hashes: NDArray[np.uint64], bounds: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the distinct hashes of each text, and where those of each begin and end."""
    keyed = np.repeat(np.arange(len(bounds) - 1, dtype=np.uint64) << np.uint64(32), np.diff(bounds))
    keyed |= hashes
    keyed.sort()
    first = np.ones(len(keyed), np.bool_)
    np.not_equal(keyed[1:], keyed[:-1], out=first[1:])
    # Places are taken several times faster than flags.
    places = np.flatnonzero(first)
    return keyed[places].astype(np.uint32), np.searchsorted(places, bounds)


_LATIN_SIGNS, _SIGNS, _CJK, _FULL_WIDTH, _WIDE = 0xC2, 0xE2, 0xE3, 0xEF, 0xE0

# Odd numbers without a pattern, to multiply by: bits of pi, e and the golden ratio.
_HEAD, _LENGTH, _TAIL, _LAST = (
    np.uint64(number)
    for number in (
        0x9E3779B97F4A7C15,
        0xC2B7E151628AED2B,
        0x243F6A8885A308D3,
        0xB7E151628AED2A6B,
    )
)
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)


def _hash_words(
    data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the hashes of all words, 32 bits each, and where those of each text begin and end."""
    # Two numbers of zeros behind the end, so that every byte can be read as the first of eight.
    padded = np.zeros(len(data) // 8 * 8 + 24, np.uint8)
    part = padded[: len(data)]
    _fold(data, part)
    if data.max(initial=0) >= _LATIN_SIGNS:
        _part_at_signs(part)
    starts, ends = _word_bounds(part, offsets)
    sizes = ends - starts
    eights = padded.view(np.uint64)
    hashes = _eight_bytes(eights, starts)
    hashes &= _MASKS[np.minimum(sizes, 8)]
    hashes *= _HEAD
    # Of a long word the last eight bytes count too; who verifies looks at words no closer.
    long = np.flatnonzero(sizes > 8)  # noqa: PLR2004  # bytes of a uint64
    tails = _eight_bytes(eights, ends[long] - 8) * _TAIL
    hashes[long] ^= tails ^ sizes[long].view(np.uint64) * _LENGTH
    hashes ^= hashes >> np.uint64(29)
    hashes *= _LAST
    hashes >>= np.uint64(32)
    return hashes, np.searchsorted(starts, offsets)


def _fold(data: NDArray[np.uint8], part: NDArray[np.uint8]) -> None:
    """Put each byte of a word into `part`, letters of ASCII in lower case, and 0 elsewhere."""
    shifted = data - np.uint8(ord("A"))
    is_word = shifted < 26  # noqa: PLR2004  # letters
    np.multiply(is_word.view(np.uint8), np.uint8(ord("a") - ord("A")), out=part)
    part += data
    np.subtract(part, np.uint8(ord("a")), out=shifted)
    np.less(shifted, 26, out=is_word)
    np.subtract(data, np.uint8(ord("0")), out=shifted)
    is_word |= shifted < 10  # noqa: PLR2004  # digits
    is_word |= data > 0x7F  # noqa: PLR2004  # beyond ASCII
    part *= is_word.view(np.uint8)


def _part_at_signs(part: NDArray[np.uint8]) -> None:
    """Put zeros where a sign of more than one byte parts words: quotes, dashes, blanks, points."""
    beyond = np.flatnonzero(part >= _LATIN_SIGNS)
    leads = part[beyond]
    for lead, width, second in (
        (_LATIN_SIGNS, 2, None),
        (_SIGNS, 3, None),
        (_CJK, 3, 0x80),
        (_FULL_WIDTH, 3, 0xBC),
    ):
        places = beyond[leads == lead]
        if second is not None:
            places = places[part[places + 1] == second]
        if lead == _FULL_WIDTH:
            third = part[places + 2]
            places = places[(third < 0x90) | (third >= 0x9A) & (third <= 0xA0)]  # noqa: PLR2004
        for byte in range(width):
            part[places + byte] = 0


def _word_bounds(
    part: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each word begins and ends; no word reaches into the next text."""
    is_word = part != 0
    begins = part >= _WIDE
    begins[1:] |= is_word[1:] > is_word[:-1]
    firsts = offsets[:-1][offsets[:-1] < len(part)]
    begins[firsts] = is_word[firsts]
    ends = is_word
    ends[:-1] &= begins[1:] >= is_word[1:]
    return np.flatnonzero(begins), np.flatnonzero(ends) + 1


def _eight_bytes(eights: NDArray[np.uint64], places: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the eight bytes from each place on, which need not be aligned."""
    index = places >> 3
    shift = (places & 7).view(np.uint64) << np.uint64(3)
    found: NDArray[np.uint64] = eights[index]
    found >>= shift
    index += 1
    # A shift by 64 gives 0 in numpy.
    found |= eights[index] << (np.uint64(64) - shift)
    return found
