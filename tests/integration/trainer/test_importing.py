"""Imports beside others, on both databases, and through faults of the store."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from services.common import layout, manifests
from services.common.database import Database
from services.common.errors import Unavailable
from services.common.storage import ObjectStore, open_store
from services.trainer.bell import Bell
from services.trainer.models import Request
from services.trainer.registry.bundle import Place, pack
from services.trainer.registry.importing import Imports, ImportWish
from services.trainer.tables import MIGRATIONS
from tests.stores import FailingStore
from tests.whole_model import publish_whole_model

WISH = ImportWish(tenant="acme", display_name="Theirs")
REQUEST = Request(actor="anna", request_id="r-1", fingerprint=b"f")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.upgrade(MIGRATIONS)
    yield database
    database.close()


@pytest.fixture
def store(tmp_path: Path) -> FailingStore:
    return FailingStore(open_store(str(tmp_path / "store")))


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    """The same bundle twice, each in a scratch directory of its own."""
    other = open_store(str(tmp_path / "other"))
    manifest = publish_whole_model(other, tmp_path, "tone")
    place = Place(tenant="default", model="tone", attempt=1, token=1)
    content = b"".join(pack(other, manifest, place, texts=False).chunks())
    paths = [tmp_path / f"incoming-{number}" / "bundle.tar" for number in range(2)]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(content)
    return paths


def kept_files(store: ObjectStore, model: str) -> set[str]:
    """Return what the model's manifest accounts for, having seen that it is all there is."""
    manifest = manifests.read_manifest(store, layout.model_manifest("acme", model), ModelManifest)
    kept = layout.attempt_prefix("acme", model, manifest.attempt, manifest.token)
    found = {item.key for item in store.list(layout.runs_prefix("acme", model))}
    assert found
    assert all(key.startswith(kept) for key in found)
    return found


def test_the_same_request_at_the_same_time_makes_one_model(
    database: Database, store: FailingStore, bundles: list[Path]
) -> None:
    imports = Imports(database, store, Bell())

    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda path: imports.take(path, WISH, REQUEST), bundles))

    assert made[0].id == made[1].id
    assert [item.key.split("/")[2] for item in store.list("acme/models/")].count(made[0].id) > 5
    kept_files(store, made[0].id)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("writes", [3, 11])
def test_a_request_goes_on_after_the_store_failed(
    database: Database, store: FailingStore, bundles: list[Path], writes: int
) -> None:
    imports = Imports(database, store, Bell())
    store.writes_left = writes

    with pytest.raises(Unavailable):
        imports.take(bundles[0], WISH, REQUEST)
    left = list(store.list("acme/"))
    store.writes_left = 1 << 30
    row = imports.take(bundles[1], WISH, REQUEST)

    # The twelfth write is the manifest's: whether it came through, nobody knows.
    assert bool(left) == (writes == 11)
    kept_files(store, row.id)
