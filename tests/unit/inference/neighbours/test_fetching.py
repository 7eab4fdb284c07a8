from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common import layout
from services.common.storage import read_all
from services.inference.fetched.download import Downloader
from services.inference.fetched.file_cache import FileCache
from services.inference.manifests import PublishedModel, parse_published
from services.inference.neighbours.fetching import NeighbourReader
from tests.tiny_model import publish_tiny_model, store_neighbours
from tests.unit.inference.watched_store import Clock, WatchedStore

WAIT = 30.0
TEXTS_KEY = layout.attempt_examples_prefix("acme", "tone", 1, 1) + "neighbours.json"


@pytest.fixture
def store(tmp_path: Path) -> WatchedStore:
    return WatchedStore(tmp_path / "store")


@pytest.fixture
def published(store: WatchedStore) -> PublishedModel:
    kept = store_neighbours(store, "acme", "tone", [("late", [0]), ("great", [2])])
    publish_tiny_model(store, "acme", "tone", neighbours=kept)
    key = layout.model_manifest("acme", "tone")
    return parse_published(read_all(store, key, limit=1 << 20), key)


@pytest.fixture
def reader(store: WatchedStore, tmp_path: Path, clock: Clock) -> Iterator[NeighbourReader]:
    reader = NeighbourReader(
        store,
        FileCache(tmp_path / "cache", max_bytes=1 << 20),
        Downloader(store),
        idle_seconds=0.01,
        clock=clock,
    )
    yield reader
    reader.close()


def test_texts_that_are_purged_leave_memory_though_nobody_asks(
    store: WatchedStore, published: PublishedModel, reader: NeighbourReader
) -> None:
    kept = reader.of(published)
    assert kept is not None
    assert len(kept.request().result(WAIT).texts) == 2

    store.delete(TEXTS_KEY)

    # The clock stands still: by itself it would tell them for ever.
    while (known := kept.ready()) is None or known.texts:
        time.sleep(0.01)
    assert list(known.rows.places) == [1, 3]


def test_what_nobody_asked_for_is_not_read(
    store: WatchedStore, published: PublishedModel, reader: NeighbourReader
) -> None:
    asked, other = reader.of(published), reader.of(published)
    assert asked is not None
    assert other is not None
    asked.request().result(WAIT)

    store.delete(TEXTS_KEY)
    while (known := asked.ready()) is None or known.texts:
        time.sleep(0.01)

    assert other.ready() is None
