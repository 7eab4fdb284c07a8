"""Bytes that are made in threads and sent by a stream. Knows neither what they are nor the call."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock


class Chunks:
    """An iterator that may be closed while another thread still takes its next item."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        """Take nothing yet."""
        self._chunks = chunks
        self._lock = Lock()

    def next(self) -> bytes:
        """Return the next item, or nothing at the end."""
        with self._lock:
            return next(self._chunks, b"")

    def close(self) -> None:
        """Close the iterator, once nobody takes an item."""
        with self._lock:
            close = getattr(self._chunks, "close", None)
            if close is not None:
                close()
