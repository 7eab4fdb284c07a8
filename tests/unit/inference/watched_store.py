"""A store that can be down, and a clock that a test moves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from services.common.errors import Unavailable
from services.common.storage import ObjectInfo, open_store
from tests.stores import PassingStore

_WAIT = 30.0


class WatchedStore(PassingStore):
    """A directory that can be down, and counts what is asked of it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(open_store(str(directory)))
        self.root = directory
        self.down = False
        self.refused: set[str] = set()
        """Keys that cannot be read for the moment."""

        self.slow: threading.Event | None = None
        """Files of models come once it is set; manifests at once."""

        self.gets: list[str] = []
        self.lists: list[str] = []

    def stat(self, key: str) -> ObjectInfo | None:
        self._check()
        return super().stat(key)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        self._check(key)
        self.gets.append(key)
        if self.slow is not None and not key.endswith("/model.json"):
            assert self.slow.wait(_WAIT)
        return super().get(key, offset=offset, length=length)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        self._check()
        self.lists.append(prefix)
        return super().list(prefix, start_after=start_after)

    def _check(self, key: str = "") -> None:
        if self.down or key in self.refused:
            raise Unavailable("The store is down.")


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
