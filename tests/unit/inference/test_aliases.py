from __future__ import annotations

import weakref
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from services.common import aliases, layout
from services.common.errors import DataLoss, NotFound, Unavailable
from services.common.manifests import create_manifest
from services.common.names import Collection, ResourceName
from services.common.storage import BeforeEnd, Content, ObjectInfo, ObjectStore
from services.inference.alias_watch import AliasWatch
from services.inference.aliases import Aliases
from services.inference.engine import Engine
from services.inference.fetched.records import Records
from services.inference.library import Library
from services.inference.model import Precision
from services.inference.models import Models
from services.inference.residents import ModelKey
from tests.stores import PassingStore
from tests.tiny_model import publish_tiny_model
from tests.unit.inference.libraries import library
from tests.unit.inference.watched_store import Clock, WatchedStore

WAIT = 30.0


@pytest.fixture
def store(tmp_path: Path) -> WatchedStore:
    store = WatchedStore(tmp_path / "store")
    publish_tiny_model(store, "acme", "one")
    publish_tiny_model(store, "acme", "two", seed=1)
    return store


@pytest.fixture
def models(opened: Library) -> Models:
    return opened.models


@pytest.fixture
def followed(opened: Library) -> Aliases:
    return opened.aliases


def switch(
    store: ObjectStore,
    version: int,
    model: str,
    *,
    preload: bool = False,
    alias: str = "reviews",
    tenant: str = "acme",
) -> None:
    """Write what a switch of the trainer writes; an empty model deletes."""
    record = AliasRecord(
        format_version=1,
        version=version,
        model=f"models/{model}" if model else "",
        preload=preload,
    )
    assert aliases.add(store, tenant, alias, record)


def named(model: str) -> ResourceName:
    return ResourceName(collection=Collection.MODELS, id=model)


def key(model: str) -> ModelKey:
    return ModelKey.of("acme", named(model), Precision.EXACT)


def loaded(followed: Aliases) -> None:
    """Wait for the loads that a look asked for, and let the next look see that they are done."""
    waiting = [load for coming in followed._coming.values() for load in coming.loads]
    assert not wait(waiting, WAIT).not_done
    followed.look()


def engine_of(models: Models, model: str) -> weakref.ref[Engine]:
    ready = models.ready(key(model))
    assert ready is not None
    return weakref.ref(ready.engine)


def test_what_was_looked_up_once_asks_no_store(store: WatchedStore, followed: Aliases) -> None:
    switch(store, 1, "one")

    assert followed.known("acme", "reviews") is None
    assert followed.find("acme", "reviews") == named("one")
    store.down = True
    assert followed.known("acme", "reviews") == named("one")


def test_a_switch_is_followed_by_the_next_look(store: WatchedStore, followed: Aliases) -> None:
    switch(store, 1, "one")
    followed.look()
    switch(store, 2, "two")
    assert followed.known("acme", "reviews") == named("one")

    followed.look()

    assert followed.known("acme", "reviews") == named("two")


def test_what_did_not_change_is_not_read_again(
    store: WatchedStore, followed: Aliases, clock: Clock
) -> None:
    switch(store, 1, "one")
    followed.look()
    store.gets.clear()

    clock.now += 1
    followed.look()

    assert store.gets == []


def test_a_preloaded_model_is_in_memory_before_anybody_asks(
    store: WatchedStore, followed: Aliases, models: Models
) -> None:
    switch(store, 1, "one", preload=True)

    followed.look()
    loaded(followed)

    assert models.ready(key("one")) is not None
    assert followed.known("acme", "reviews") == named("one")


def test_a_model_that_was_preloaded_leaves_memory_when_it_makes_room(
    store: WatchedStore, followed: Aliases, models: Models
) -> None:
    switch(store, 1, "one", preload=True)
    followed.look()
    loaded(followed)
    engine = engine_of(models, "one")

    models._residents.drop(key("one"))
    followed.look()

    models._residents.wait_until_left()
    assert engine() is None


def test_the_old_model_serves_until_the_new_one_is_loaded(
    store: WatchedStore, followed: Aliases, models: Models
) -> None:
    switch(store, 1, "one")
    followed.look()
    models.request(key("one")).result(WAIT)
    switch(store, 2, "two")

    followed.look()
    serving = followed.known("acme", "reviews")
    assert serving == named("one") or models.holds(key("two"))
    loaded(followed)

    assert models.ready(key("two")) is not None
    assert followed.known("acme", "reviews") == named("two")


def test_an_outage_while_the_new_model_loads_is_waited_for(
    store: WatchedStore, followed: Aliases
) -> None:
    switch(store, 1, "one", preload=True)
    followed.look()
    loaded(followed)
    graph = layout.attempt_prefix("acme", "two", 1, 1) + "model.onnx"
    switch(store, 2, "two", preload=True)
    store.refused = {graph}

    followed.look()
    loaded(followed)
    assert followed.known("acme", "reviews") == named("one")

    store.refused = set()
    followed.look()
    loaded(followed)
    assert followed.known("acme", "reviews") == named("two")


def test_a_model_that_cannot_be_loaded_is_switched_to_all_the_same(
    store: WatchedStore, followed: Aliases
) -> None:
    switch(store, 1, "one", preload=True)
    followed.look()
    loaded(followed)
    switch(store, 2, "gone", preload=True)

    followed.look()
    loaded(followed)

    assert followed.known("acme", "reviews") == named("gone")


def test_a_preload_that_failed_is_tried_again(
    store: WatchedStore, followed: Aliases, models: Models, clock: Clock
) -> None:
    switch(store, 1, "late", preload=True)
    followed.look()
    loaded(followed)
    publish_tiny_model(store, "acme", "late")

    followed.look()
    assert not models.holds(key("late"))
    clock.now += 10
    followed.look()
    models.request(key("late")).result(WAIT)
    followed.look()

    assert models.holds(key("late"))
    assert key("late") in models._residents.pinned


def test_a_store_that_is_down_changes_nothing(store: WatchedStore, followed: Aliases) -> None:
    switch(store, 1, "one")
    followed.look()
    store.down = True

    with pytest.raises(Unavailable):
        followed.look()
    with pytest.raises(Unavailable):
        followed.find("acme", "other")

    assert followed.known("acme", "reviews") == named("one")


def test_a_deleted_alias_says_how_to_bring_it_back(store: WatchedStore, followed: Aliases) -> None:
    switch(store, 1, "one")
    followed.look()
    switch(store, 2, "")
    followed.look()

    for look in (followed.known, followed.find):
        with pytest.raises(NotFound, match="isogloss aliases rollback aliases/reviews"):
            look("acme", "reviews")


def test_an_alias_that_was_cleared_away_is_forgotten(
    store: WatchedStore, followed: Aliases, clock: Clock
) -> None:
    switch(store, 1, "one")
    followed.look()
    store.delete(layout.alias_version("acme", "reviews", 1))

    clock.now += 1
    followed.look()

    assert followed.known("acme", "reviews") is None
    with pytest.raises(NotFound, match="isogloss aliases list"):
        followed.find("acme", "reviews")


def test_what_a_call_has_found_is_not_taken_back_by_an_older_list(
    store: WatchedStore, models: Models, tmp_path: Path
) -> None:
    class Behind(WatchedStore):
        """Lists what was there before the call that comes in between."""

        def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
            yield from super().list(prefix, start_after=start_after)
            if prefix == layout.aliases_prefix("acme"):
                switch(store, 2, "two")
                assert watched.find("acme", "reviews") == named("two")

    records = Records(tmp_path / "records")
    watched = Aliases(Behind(tmp_path / "store"), models, records, poll_seconds=1.0)
    switch(store, 1, "one")

    watched.look()

    assert watched.known("acme", "reviews") == named("two")


def test_an_unreadable_version_harms_no_other_alias(store: WatchedStore, followed: Aliases) -> None:
    switch(store, 1, "one")
    followed.look()
    store.put(layout.alias_version("acme", "reviews", 2), b"{")
    switch(store, 1, "two", alias="tone")

    followed.look()

    assert followed.known("acme", "reviews") == named("one")
    assert followed.known("acme", "tone") == named("two")
    with pytest.raises(DataLoss):
        followed.find("acme", "reviews")


def test_tenants_do_not_see_each_others_aliases(store: WatchedStore, followed: Aliases) -> None:
    switch(store, 1, "one")
    followed.look()

    assert followed.known("rival", "reviews") is None
    with pytest.raises(NotFound):
        followed.find("rival", "reviews")


def test_a_look_where_nothing_changed_is_one_listing_for_all_tenants(
    store: WatchedStore, followed: Aliases, clock: Clock
) -> None:
    for number in range(20):
        switch(store, 1, "one", tenant=f"t{number}")
    for _ in range(200):
        followed.look()
        clock.now += 1
    store.lists.clear()
    looks = 30

    for _ in range(looks):
        clock.now += 1
        followed.look()

    assert store.lists.count(layout.alias_marks_prefix()) == looks
    # What no mark tells is looked for in turns, at the same pace however many tenants there are.
    assert len(store.lists) - looks <= 3 * 3


def test_a_change_that_comes_late_after_its_mark_is_followed(
    store: WatchedStore, followed: Aliases, clock: Clock
) -> None:
    class Slow(PassingStore):
        def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
            followed.look()
            clock.now += 5
            return super().create(key, data, before_end=before_end)

    switch(store, 1, "one")
    followed.look()
    switch(Slow(store), 2, "two")
    followed.look()

    assert followed.known("acme", "reviews") == named("two")


def test_looks_for_another_reason_take_no_turn_of_a_mark(store: WatchedStore, clock: Clock) -> None:
    switch(store, 1, "one")
    watch, started = AliasWatch(store, clock), clock.now

    # As while a model loads that an alias waits for.
    for _ in range(20):
        assert watch.due() == (["acme"] if clock.now == started else [])
        watch.looked("acme")
        clock.now += 0.01

    clock.now = started + 1
    assert watch.due() == ["acme"]


def test_a_change_without_a_mark_is_found_in_turn(
    store: WatchedStore, followed: Aliases, clock: Clock
) -> None:
    switch(store, 1, "one")
    switch(store, 1, "one", tenant="rival")
    for _ in range(200):
        followed.look()
        clock.now += 1
    record = AliasRecord(format_version=1, version=2, model="models/two")
    assert create_manifest(store, layout.alias_version("acme", "reviews", 2), record)

    for _ in range(40):
        clock.now += 1
        followed.look()

    assert followed.known("acme", "reviews") == named("two")


def test_a_start_waits_for_what_is_preloaded(
    store: WatchedStore, followed: Aliases, models: Models
) -> None:
    switch(store, 1, "one", preload=True)
    switch(store, 1, "two", alias="tone")
    ready_before = followed.ready

    followed.look()
    loaded(followed)

    assert not ready_before
    assert followed.ready
    assert models.holds(key("one"))
    assert not models.holds(key("two"))


def test_a_start_does_not_wait_for_ever(followed: Aliases, clock: Clock) -> None:
    ready_before = followed.ready
    clock.now += 121

    assert not ready_before
    assert followed.ready


def test_aliases_and_models_outlive_the_process_and_the_store(
    store: WatchedStore, opened: Library, tmp_path: Path, clock: Clock
) -> None:
    switch(store, 1, "one", preload=True)
    switch(store, 1, "two", alias="tone")
    opened.aliases.look()
    loaded(opened.aliases)
    opened.models.request(key("two")).result(WAIT)
    opened.aliases.look()
    opened.close()
    store.down = True

    again = library(store, tmp_path / "cache", clock=clock)
    with pytest.raises(Unavailable):
        again.aliases.look()

    assert again.aliases.known("acme", "reviews") == named("one")
    assert again.aliases.known("acme", "tone") == named("two")
    assert again.models.request(key("one")).result(WAIT).name == "models/one"
    assert again.models.request(key("two")).result(WAIT).name == "models/two"
    assert again.aliases.ready
    with pytest.raises(Unavailable):
        again.aliases.find("acme", "other")
    again.close()


def test_what_a_call_found_just_before_the_store_went_down_outlives_the_process(
    store: WatchedStore, opened: Library, tmp_path: Path, clock: Clock
) -> None:
    opened.aliases.look()
    switch(store, 1, "one")
    opened.aliases.find("acme", "reviews")
    store.down = True
    with pytest.raises(Unavailable):
        opened.aliases.look()
    opened.close()

    again = library(store, tmp_path / "cache", clock=clock)
    with pytest.raises(Unavailable):
        again.aliases.look()

    assert again.aliases.known("acme", "reviews") == named("one")
    again.close()
