"""A file that is read while it is still written, from front to back.

Its writer must only ever append, as DuckDB does with Parquet.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

from services.common.storage import CHUNK_BYTES

_LOOK_SECONDS = 0.02
"""How often it is looked for more: by a thread that would only wait otherwise."""


class Abandoned(Exception):
    """The file was given up before it was whole."""


class GrowingFile:
    """One file. `finish` and `abandon` are called from other threads than `chunks`."""

    def __init__(self, path: Path) -> None:
        """Begin with a file that need not exist yet."""
        self._path = path
        self._ended = Event()
        self._abandoned = False

    def finish(self) -> None:
        """Say that the file is whole."""
        self._ended.set()

    def abandon(self) -> None:
        """Say that it is not going to be whole, unless it is already."""
        if not self._ended.is_set():
            self._abandoned = True
            self._ended.set()

    def chunks(self) -> Iterator[bytes]:
        """Yield all of it, waiting for what is not written yet.

        Raises:
            Abandoned: Where it was given up.
        """
        while not self._path.exists() and not self._ended.wait(_LOOK_SECONDS):
            pass
        self._check()
        with self._path.open("rb") as file:
            is_whole = False
            while not is_whole:
                # Asked before reading: what was written until then is read.
                is_whole = self._ended.wait(_LOOK_SECONDS)
                self._check()
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk

    def _check(self) -> None:
        if self._abandoned:
            raise Abandoned
