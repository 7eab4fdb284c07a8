"""Stores that stand before another one and do something of their own with some calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.common.errors import Unavailable
from services.common.storage import BeforeEnd, Content, ObjectInfo, ObjectStore


class PassingStore:
    """Hands every call on."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, key: str, data: bytes | Iterable[bytes]) -> ObjectInfo:
        return self._store.put(key, data)

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        return self._store.create(key, data, before_end=before_end)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        return self._store.get(key, offset=offset, length=length)

    def stat(self, key: str) -> ObjectInfo | None:
        return self._store.stat(key)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        return self._store.list(prefix, start_after=start_after)

    def delete(self, key: str) -> None:
        self._store.delete(key)


class FailingStore(PassingStore):
    """Is down for writes once there were so many."""

    def __init__(self, store: ObjectStore, writes: int = 1 << 30) -> None:
        super().__init__(store)
        self.writes_left = writes

    def put(self, key: str, data: bytes | Iterable[bytes]) -> ObjectInfo:
        self._count()
        return super().put(key, data)

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        self._count()
        return super().create(key, data, before_end=before_end)

    def _count(self) -> None:
        if not self.writes_left:
            raise Unavailable("The store is down.")
        self.writes_left -= 1
