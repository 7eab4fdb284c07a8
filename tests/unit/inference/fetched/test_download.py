from __future__ import annotations

import hashlib
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.errors import DataLoss, Unavailable
from services.common.storage import ObjectStore, open_store
from services.inference.artifact import Artifact
from services.inference.fetched.download import Downloader
from tests.stores import PassingStore

WAIT = 30.0
PART = 64 * 1024


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


def stored(store: ObjectStore, size: int) -> tuple[Artifact, bytes]:
    content = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(size // 32 + 1))
    content = content[:size]
    store.put("t/file", content)
    digest = hashlib.sha256(content).hexdigest()
    return Artifact(key="t/file", size=size, sha256=digest), content


def fetched(store: ObjectStore, artifact: Artifact, path: Path) -> bytes:
    downloader = Downloader(store, part_bytes=PART)
    try:
        with path.open("w+b") as file:
            downloader.fetch(artifact, file)
    finally:
        downloader.close()
    return path.read_bytes()


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 10 * PART + 7])
def test_parts_become_the_file(store: ObjectStore, tmp_path: Path, size: int) -> None:
    artifact, content = stored(store, size)

    assert fetched(store, artifact, tmp_path / "file") == content


class Breaking(PassingStore):
    """Breaks each transfer after so many bytes."""

    def __init__(self, store: ObjectStore, after: int) -> None:
        super().__init__(store)
        self.after = after
        self.offsets: list[int] = []

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        self.offsets.append(offset)
        wanted = self.after if length is None else min(length, self.after)
        yield from super().get(key, offset=offset, length=wanted)
        raise Unavailable("The connection broke.")


def test_a_broken_part_goes_on_where_it_broke(store: ObjectStore, tmp_path: Path) -> None:
    artifact, content = stored(store, 3 * PART)
    breaking = Breaking(store, PART // 4)

    assert fetched(breaking, artifact, tmp_path / "file") == content
    assert sorted(breaking.offsets) == list(range(0, 3 * PART, PART // 4))


def test_a_store_that_says_nothing_is_not_asked_for_ever(
    store: ObjectStore, tmp_path: Path
) -> None:
    artifact, _ = stored(store, 3 * PART)

    with pytest.raises(Unavailable):
        fetched(Breaking(store, 0), artifact, tmp_path / "file")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda content: content[:-1] + b"!", "another sha256"),
        (lambda content: content[: 2 * PART], f"has {2 * PART} bytes instead of {3 * PART}"),
        (None, "is missing"),
    ],
)
def test_another_file_than_the_manifest_says_is_refused(
    store: ObjectStore, tmp_path: Path, change: object, found: str
) -> None:
    artifact, content = stored(store, 3 * PART)
    if callable(change):
        store.put(artifact.key, change(content))
    else:
        store.delete(artifact.key)

    with pytest.raises(DataLoss, match=found):
        fetched(store, artifact, tmp_path / "file")


class Together(PassingStore):
    """Gives nothing until several ask at the same time."""

    def __init__(self, store: ObjectStore, callers: int) -> None:
        super().__init__(store)
        self.barrier = threading.Barrier(callers)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        self.barrier.wait(WAIT)
        return super().get(key, offset=offset, length=length)


def test_parts_come_at_the_same_time(store: ObjectStore, tmp_path: Path) -> None:
    artifact, content = stored(store, 4 * PART)

    assert fetched(Together(store, 4), artifact, tmp_path / "file") == content


def test_a_large_file_is_never_in_memory(store: ObjectStore, tmp_path: Path) -> None:
    artifact, _ = stored(store, 32 * 1024 * 1024)
    downloader = Downloader(store)

    tracemalloc.start()
    with (tmp_path / "file").open("w+b") as file:
        downloader.fetch(artifact, file)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    downloader.close()

    assert most < 12 * 1024 * 1024
