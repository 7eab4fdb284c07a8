"""Remembers the sha256 of what was stored of a file so far, so that its end need not read it again.

In memory only: what is forgotten, by a restart or for others, is read from the store.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

    from services.ingest.dataset import Split

_MOST_FILES = 1024
"""Files that are remembered: the last written ones, some hundred bytes each."""

File = tuple[str, str, "Split"]
"""Tenant, dataset and split."""


class PrefixSums:
    """The sha256 of the beginning of each file. Thread safe."""

    def __init__(self) -> None:
        """Know nothing."""
        self._known: OrderedDict[File, tuple[int, _Hash]] = OrderedDict()
        self._lock = Lock()

    def extend(self, file: File, offset: int, chunks: Sequence[bytes]) -> None:
        """Note bytes that were stored at `offset`; they count where they go on what is known."""
        reached, digest = self.start(file)
        if reached == offset:
            for chunk in chunks:
                digest.update(chunk)
                reached += len(chunk)
            with self._lock:
                self._known[file] = (reached, digest)
                self._known.move_to_end(file)
                if len(self._known) > _MOST_FILES:
                    self._known.popitem(last=False)

    def start(self, file: File) -> tuple[int, _Hash]:
        """Return how many bytes from the beginning are known, and a hash of them to go on with."""
        with self._lock:
            reached, digest = self._known.get(file, (0, hashlib.sha256()))
            return reached, digest.copy()

    def forget(self, tenant: str, dataset: str) -> None:
        """Drop what is known of a dataset's files."""
        with self._lock:
            for file in [file for file in self._known if file[:2] == (tenant, dataset)]:
                del self._known[file]
