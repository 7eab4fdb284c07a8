from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from services.common import aliases, layout
from services.common.errors import NotFound
from services.common.storage import ObjectStore, open_store
from tests.engines import StoreServer


@pytest.fixture(params=["directory", "minio"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return open_store(str(tmp_path / "store"))
    server: StoreServer = request.getfixturevalue("minio")
    return open_store(server.url(f"aliases-{secrets.token_hex(4)}"), server.options)


def record(version: int, model: str = "models/one") -> AliasRecord:
    return AliasRecord(format_version=1, version=version, model=model)


def test_the_highest_version_holds(store: ObjectStore) -> None:
    for version in (1, 2, 11):
        assert aliases.add(store, "t", "reviews", record(version, f"models/m{version}"))
    assert aliases.add(store, "t", "reviews-old", record(3))

    assert aliases.versions(store, "t", "reviews") == [1, 2, 11]
    assert aliases.newest(store, "t") == {"reviews": 11, "reviews-old": 3}
    found = aliases.find(store, "t", "reviews")
    assert found is not None
    assert found.model == "models/m11"
    assert aliases.find(store, "t", "none") is None
    with pytest.raises(NotFound):
        aliases.read(store, "t", "reviews", 3)


def test_one_of_many_makes_a_version(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(
            threads.map(
                lambda number: aliases.add(store, "t", "reviews", record(1, f"models/m{number}")),
                range(8),
            )
        )

    found = aliases.find(store, "t", "reviews")
    assert made.count(True) == 1
    assert found is not None
    assert found.model == f"models/m{made.index(True)}"


def test_each_change_changes_the_marks_of_its_tenant_alone(store: ObjectStore) -> None:
    assert aliases.marks(store) == {}
    aliases.add(store, "t", "reviews", record(1))
    aliases.add(store, "other", "reviews", record(1))
    before = aliases.marks(store)

    aliases.add(store, "t", "reviews", record(2))

    after = aliases.marks(store)
    assert before.keys() == after.keys() == {"t", "other"}
    assert before["t"] != after["t"]
    assert before["other"] == after["other"]
    assert len(after["t"]) == 1


def test_callers_at_once_leave_a_mark(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: aliases.add(store, "t", f"a{n}", record(1)), range(16)))

    assert aliases.marks(store)["t"]


def test_tenants_are_those_that_store_anything(store: ObjectStore) -> None:
    store.put(layout.base_model_manifest("small"), b"{}")
    for tenant in ("acme", "acme-north", "acme0", "b"):
        store.put(layout.model_pending(tenant, "m"), b"{}")
        store.put(layout.model_pending(tenant, "n"), b"{}")

    assert sorted(aliases.tenants(store)) == ["acme", "acme-north", "acme0", "b"]
