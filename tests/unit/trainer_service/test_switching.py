from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from services.common import aliases, layout
from services.common.errors import FailedPrecondition, NotFound, Reason, ResourceExhausted
from services.common.storage import ObjectStore, open_store
from services.trainer.registry.aliases import Aliases
from services.trainer.registry.switching import MAX_ALIASES, MAX_VERSIONS, Change, Switching
from tests.tiny_model import publish_tiny_model


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    store = open_store(str(tmp_path / "store"))
    publish_tiny_model(store, "acme", "one")
    publish_tiny_model(store, "acme", "two")
    return store


def ticking() -> Callable[[], datetime]:
    seconds = count()
    return lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(seconds))


def change(alias: str, *, tenant: str = "acme") -> Change:
    return Change(tenant=tenant, alias=alias, actor="anna", expected=None)


def keep(store: ObjectStore, alias: str, version: int, model: str = "models/one") -> None:
    """Leave a version as a switch would."""
    record = AliasRecord(format_version=1, version=version, model=model)
    record.create_time.FromDatetime(datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=version))
    assert aliases.add(store, "acme", alias, record)


def test_only_the_newest_versions_are_kept(store: ObjectStore) -> None:
    for version in range(1, MAX_VERSIONS + 1):
        keep(store, "reviews", version)

    record = Switching(store).set(change("reviews"), model="two", preload=False)

    assert record.version == MAX_VERSIONS + 1
    kept = aliases.versions(store, "acme", "reviews")
    assert kept == list(range(2, MAX_VERSIONS + 2))


def test_the_alias_that_was_deleted_longest_ago_makes_room(store: ObjectStore) -> None:
    for number in range(MAX_ALIASES - 2):
        keep(store, f"a{number}", 1)
    keep(store, "old", 2, model="")
    keep(store, "older", 1, model="")
    switching = Switching(store)

    switching.set(change("new"), model="one", preload=False)
    switching.set(change("newer"), model="one", preload=False)
    with pytest.raises(ResourceExhausted) as full:
        switching.set(change("newest"), model="one", preload=False)
    switching.set(change("new"), model="two", preload=False)

    assert full.value.reason is Reason.LIMIT_EXCEEDED
    known = aliases.newest(store, "acme")
    assert "old" not in known
    assert "older" not in known
    assert known["new"] == 2


def test_a_model_that_an_alias_stands_for_is_not_deleted(store: ObjectStore) -> None:
    switching, found = Switching(store, ticking()), Aliases(store)
    switching.set(change("reviews"), model="one", preload=False)
    switching.set(change("tone"), model="one", preload=True)

    with pytest.raises(FailedPrecondition) as refused:
        found.refuse_deletion("acme", "one")
    found.refuse_deletion("acme", "two")
    found.refuse_deletion("rival", "one")
    switching.set(change("tone"), model="two", preload=True)
    switching.delete(change("reviews"))
    found.refuse_deletion("acme", "one")

    assert refused.value.reason is Reason.MODEL_IN_USE
    assert refused.value.subjects == ("aliases/reviews", "aliases/tone")


def test_tenants_have_aliases_of_their_own(store: ObjectStore) -> None:
    publish_tiny_model(store, "acme-north", "one")
    Switching(store).set(change("reviews"), model="one", preload=False)
    Switching(store).set(change("reviews", tenant="acme-north"), model="one", preload=False)
    store.put(layout.base_model_manifest("tiny"), b"{}")

    assert list(aliases.tenants(store)) == ["acme-north", "acme"]
    with pytest.raises(NotFound):
        Aliases(store).get("rival", "reviews")
