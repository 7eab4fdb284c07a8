from __future__ import annotations

import weakref
from concurrent.futures import wait
from pathlib import Path

import pytest

from services.common.errors import NotFound
from services.common.names import Collection, ResourceName
from services.inference.library import Library
from services.inference.model import Precision
from services.inference.preloads import Preloads
from services.inference.residents import ModelKey
from tests.tiny_model import publish_tiny_model
from tests.unit.inference.watched_store import Clock, WatchedStore

WAIT = 30.0
LATE = ModelKey.of("acme", ResourceName(collection=Collection.MODELS, id="late"), Precision.EXACT)


@pytest.fixture
def store(tmp_path: Path) -> WatchedStore:
    return WatchedStore(tmp_path / "store")


def landed(preloads: Preloads) -> None:
    """Wait for the tries that are under way."""
    assert not wait([tried.load for tried in preloads._tries.values() if tried], WAIT).not_done


def test_a_load_that_failed_is_tried_again_after_longer_and_longer_pauses(
    opened: Library, clock: Clock
) -> None:
    preloads = Preloads(opened.models, clock)
    tries = []
    for _ in range(100):
        preloads.want(frozenset({LATE}))
        landed(preloads)
        tries.append(opened.models.stats().misses)
        clock.now += 1

    assert tries[9] == 1
    assert tries[10] == 2
    assert tries[30] == 3
    assert tries[99] == 4
    with pytest.raises(NotFound):
        opened.models.request(LATE).result(WAIT)


def test_what_is_mended_is_loaded(opened: Library, store: WatchedStore, clock: Clock) -> None:
    preloads = Preloads(opened.models, clock)
    preloads.want(frozenset({LATE}))
    landed(preloads)
    publish_tiny_model(store, "acme", "late")
    clock.now += 10

    preloads.want(frozenset({LATE}))
    landed(preloads)

    assert opened.models.holds(LATE)


def test_what_had_to_make_room_is_left_alone(
    opened: Library, store: WatchedStore, clock: Clock
) -> None:
    publish_tiny_model(store, "acme", "late")
    preloads = Preloads(opened.models, clock)
    preloads.want(frozenset({LATE}))
    landed(preloads)
    ready = opened.models.ready(LATE)
    assert ready is not None
    engine = weakref.ref(ready.engine)
    del ready
    opened.models._residents.drop(LATE)

    for _ in range(20):
        clock.now += 10
        preloads.want(frozenset({LATE}))
        landed(preloads)

    assert not opened.models.holds(LATE)
    assert engine() is None
