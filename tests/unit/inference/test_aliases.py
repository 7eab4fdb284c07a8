from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from services.common import aliases, layout
from services.common.errors import DataLoss, NotFound, Unavailable
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectInfo
from services.inference.aliases import Aliases
from services.inference.library import Library
from services.inference.model import Precision
from services.inference.models import Models
from services.inference.residents import ModelKey
from tests.tiny_model import publish_tiny_model
from tests.unit.inference.libraries import library
from tests.unit.inference.watched_store import WatchedStore

WAIT = 30.0


@pytest.fixture
def store(tmp_path: Path) -> WatchedStore:
    store = WatchedStore(tmp_path / "store")
    publish_tiny_model(store, "acme", "one")
    publish_tiny_model(store, "acme", "two", seed=1)
    return store


@pytest.fixture
def opened(store: WatchedStore, tmp_path: Path) -> Iterator[Library]:
    opened = library(store, tmp_path / "cache")
    yield opened
    opened.close()


@pytest.fixture
def models(opened: Library) -> Models:
    return opened.models


@pytest.fixture
def followed(opened: Library) -> Aliases:
    return opened.aliases


def switch(
    store: WatchedStore, version: int, model: str, *, preload: bool = False, alias: str = "reviews"
) -> None:
    """Write what a switch of the trainer writes; an empty model deletes."""
    record = AliasRecord(
        format_version=1,
        version=version,
        model=f"models/{model}" if model else "",
        preload=preload,
    )
    assert aliases.add(store, "acme", alias, record)


def named(model: str) -> ResourceName:
    return ResourceName(collection=Collection.MODELS, id=model)


def key(model: str) -> ModelKey:
    return ModelKey.of("acme", named(model), Precision.EXACT)


def loaded(followed: Aliases) -> None:
    """Wait for the loads that a look asked for, and let the next look see that they are done."""
    waiting = [load for coming in followed._coming.values() for load in coming.loads]
    assert not wait(waiting, WAIT).not_done
    followed.look()


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


def test_what_did_not_change_is_not_read_again(store: WatchedStore, followed: Aliases) -> None:
    switch(store, 1, "one")
    followed.look()
    store.gets.clear()

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
    store: WatchedStore, followed: Aliases
) -> None:
    switch(store, 1, "one")
    followed.look()
    store.delete(layout.alias_version("acme", "reviews", 1))

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

    watched = Aliases(Behind(tmp_path / "store"), models, poll_seconds=1.0)
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
