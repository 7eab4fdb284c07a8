"""Rows of models that a library opened, as the store has them, loses them and is away."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from isogloss.storage.v1.model_manifest_pb2 import Neighbours
from services.common.errors import DataLoss
from services.common.names import Collection, ResourceName
from services.inference.library import Library
from services.inference.model import Model, Precision
from services.inference.neighbours.asking import by_training_rows
from services.inference.neighbours.explaining import NeighbourWish
from services.inference.neighbours.lazy import (
    TEXTS_SECONDS,
    KnownRows,
    LazyNeighbours,
    Source,
)
from services.inference.neighbours.rows import Rows
from services.inference.residents import ModelKey
from tests.tiny_model import publish_tiny_model, store_neighbours
from tests.unit.inference.watched_store import Clock, WatchedStore

WAIT = 30.0
ROWS: Sequence[tuple[str, Sequence[int]]] = [("my order is late", [0]), ("great", [2])]


@pytest.fixture
def store(tmp_path: Path) -> WatchedStore:
    return WatchedStore(tmp_path / "store")


@pytest.fixture
def kept(store: WatchedStore) -> Neighbours:
    kept = store_neighbours(store, "acme", "tone", ROWS)
    publish_tiny_model(store, "acme", "tone", neighbours=kept, quantised=True)
    return kept


def key(precision: Precision = Precision.EXACT) -> ModelKey:
    return ModelKey.of("acme", ResourceName(collection=Collection.MODELS, id="tone"), precision)


def loaded(opened: Library, precision: Precision = Precision.EXACT) -> Model:
    return opened.models.request(key(precision)).result(WAIT)


def rows_of(opened: Library) -> LazyNeighbours:
    found = loaded(opened).neighbours
    assert found is not None
    return found


def texts(known: Future[KnownRows]) -> list[str]:
    return list(known.result(WAIT).texts.values())


def test_nothing_is_read_before_somebody_asks_and_then_once(
    store: WatchedStore, kept: Neighbours, opened: Library, clock: Clock
) -> None:
    rows = rows_of(opened)
    assert kept.vectors.key not in store.gets
    assert rows.ready() is None

    assert texts(rows.request()) == ["my order is late", "great"]
    assert rows.ready() is not None
    clock.now += TEXTS_SECONDS
    assert rows.ready() is None
    assert texts(rows.request()) == ["my order is late", "great"]

    assert store.gets.count(kept.vectors.key) == 1
    assert store.gets.count(kept.texts.key) == 1


def test_all_who_ask_at_once_share_one_read(
    store: WatchedStore, kept: Neighbours, opened: Library
) -> None:
    rows = rows_of(opened)
    store.slow = threading.Event()

    first, second = rows.request(), rows.request()
    store.slow.set()

    assert first.result(WAIT) is second.result(WAIT)
    assert store.gets.count(kept.vectors.key) == 1


def test_texts_that_go_are_told_no_more_and_are_never_on_the_disk(
    store: WatchedStore, kept: Neighbours, opened: Library, clock: Clock, tmp_path: Path
) -> None:
    rows = rows_of(opened)
    rows.request().result(WAIT)
    store.delete(kept.texts.key)

    clock.now += TEXTS_SECONDS
    known = rows.request().result(WAIT)

    assert (known.texts, list(known.rows.places)) == ({}, [1, 3])
    content = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert content
    assert not any(b"my order is late" in each for each in content)


def test_while_the_store_is_away_texts_are_not_told(
    store: WatchedStore, kept: Neighbours, opened: Library, clock: Clock
) -> None:
    rows = rows_of(opened)
    rows.request().result(WAIT)

    store.down = True
    clock.now += TEXTS_SECONDS
    assert texts(rows.request()) == []

    store.down = False
    while not texts(rows.request()):
        clock.now += TEXTS_SECONDS
    assert store.gets.count(kept.vectors.key) == 1


class Silent:
    """Rows of which the texts cannot be looked for, once they were."""

    def __init__(self, source: Source) -> None:
        self.stored = source.stored
        self.answers = threading.Event()
        self.answers.set()
        self._source = source

    def rows(self) -> Rows:
        return self._source.rows()

    def texts(self, before: Mapping[int, str]) -> Mapping[int, str]:
        assert self.answers.wait(WAIT)
        return self._source.texts(before)


@pytest.mark.usefixtures("kept")
async def test_nobody_waits_long_for_a_store_that_is_silent(opened: Library, clock: Clock) -> None:
    model = loaded(opened)
    assert model.neighbours is not None
    source = Silent(model.neighbours._source)
    with ThreadPoolExecutor(1) as executor:
        rows = LazyNeighbours(source, executor, clock=clock)
        model, wish = replace(model, neighbours=rows), NeighbourWish(explain=1)
        first = await by_training_rows(wish, model)
        source.answers.clear()
        clock.now += TEXTS_SECONDS
        second = await by_training_rows(wish, model)
        source.answers.set()
        await asyncio.wrap_future(rows.request())
        third = await by_training_rows(wish, model)

    assert first is not None
    assert second is not None
    assert third is not None
    assert [len(known.texts) for known in (first, second, third)] == [2, 0, 2]
    assert second.rows is first.rows


def test_texts_that_are_damaged_are_not_told(
    store: WatchedStore, kept: Neighbours, opened: Library
) -> None:
    store.put(kept.texts.key, b"x" * kept.texts.size)

    known = rows_of(opened).request().result(WAIT)

    assert (known.texts, list(known.rows.places)) == ({}, [1, 3])


def test_rows_that_are_damaged_are_not_fetched_for_every_call(
    store: WatchedStore, kept: Neighbours, opened: Library, clock: Clock
) -> None:
    store.put(kept.vectors.key, b"x" * kept.vectors.size)
    rows = rows_of(opened)
    for _ in range(3):
        with pytest.raises(DataLoss, match="sha256"):
            rows.request().result(WAIT)
    assert store.gets.count(kept.vectors.key) == 1

    clock.now += 10.0
    with pytest.raises(DataLoss):
        rows.request().result(WAIT)
    assert store.gets.count(kept.vectors.key) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": 3}, "vectors of float16"),
        ({"nearest": 3}, "nearest number 3 of 2 rows"),
        ({"nearest": 0}, "nearest number 0"),
        ({"held_out_cosines": [0.5, 0.25]}, "do not ascend"),
        ({"held_out_cosines": [0.5, float("nan")]}, "do not ascend"),
    ],
    ids=str,
)
def test_rows_that_are_not_what_the_manifest_says_explain_nothing(
    store: WatchedStore, opened: Library, change: dict[str, object], says: str
) -> None:
    kept = store_neighbours(store, "acme", "tone", ROWS)
    for name in change:
        kept.ClearField(name)  # type: ignore[arg-type] # a name of a field
    kept.MergeFrom(Neighbours(**change))  # type: ignore[arg-type] # fields and their values
    publish_tiny_model(store, "acme", "tone", neighbours=kept)

    with pytest.raises(DataLoss, match=says):
        rows_of(opened).request().result(WAIT)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_model_that_was_explained_leaves_memory(
    store: WatchedStore, kept: Neighbours, opened: Library, *, fails: bool
) -> None:
    if fails:
        store.put(kept.vectors.key, b"x" * kept.vectors.size)
    model = loaded(opened)
    with pytest.raises(DataLoss) if fails else nullcontext():
        await by_training_rows(NeighbourWish(explain=1), model)
    assert model.neighbours is not None
    engine, rows = weakref.ref(model.engine), weakref.ref(model.neighbours)
    del model
    await asyncio.sleep(0)  # the loop holds what woke this up until it goes on

    gc.disable()  # nothing may hold it in a circle either
    try:
        opened.models._residents.drop(key())
        opened.models._residents.wait_until_left()
        assert engine() is None
        while rows() is not None:  # noqa: ASYNC110 (whoever read them lets go in its own thread)
            await asyncio.sleep(0.01)
    finally:
        gc.enable()


def test_the_room_for_rows_is_taken_when_a_model_is_opened(
    kept: Neighbours, opened: Library
) -> None:
    with_rows = loaded(opened)
    without = loaded(opened, Precision.QUANTIZED)

    sizes = {found.key.precision: found.size for found in opened.models.stats().residents}

    assert with_rows.neighbours is not None
    assert without.neighbours is None
    room = with_rows.neighbours.stored.memory
    assert room >= 2 * kept.vectors.size + kept.texts.size
    assert sizes[Precision.EXACT] > room
