"""Texts that wait, by length, and which of them go well with a given one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

from services.inference.scheduling.work import Item

C = TypeVar("C")

# Texts in one bucket differ by less than an eighth; every octave has eight buckets.
_PER_OCTAVE = 8


def bucket_of(length: int) -> int:
    """Return the number of a length's bucket; longer texts have higher numbers."""
    octave = max(length.bit_length() - _PER_OCTAVE.bit_length(), 0)
    return octave * _PER_OCTAVE + (length >> octave)


class LengthQueues(Generic[C]):
    """Queues of texts that wait, one for each bucket of lengths, oldest first."""

    def __init__(self) -> None:
        """Begin with none."""
        self._queues: dict[int, dict[Item[C], None]] = {}

    def add(self, item: Item[C]) -> None:
        """Let a text wait."""
        self._queues.setdefault(bucket_of(item.length), {})[item] = None

    def remove(self, item: Item[C]) -> None:
        """Let a text wait no more."""
        bucket = bucket_of(item.length)
        queue = self._queues[bucket]
        del queue[item]
        if not queue:
            del self._queues[bucket]

    def near(self, length: int) -> Iterator[Collection[Item[C]]]:
        """Return each bucket's texts, oldest first, from the nearest bucket outwards.

        Nothing must be added or removed while these are looked at.
        """
        own = bucket_of(length)
        for bucket in sorted(self._queues, key=lambda bucket: abs(bucket - own)):
            yield self._queues[bucket].keys()
