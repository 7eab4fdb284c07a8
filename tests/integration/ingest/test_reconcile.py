"""Datasets survive the loss of the database: their manifests tell everything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from services.common.database import Database
from services.common.pagination import page_request
from services.common.server import running_server
from services.common.storage import ObjectStore
from services.ingest.__main__ import MIGRATIONS, build
from services.ingest.creation import NewDataset
from services.ingest.dataset import DatasetOptions, Split
from services.ingest.reconcile import reconcile
from services.ingest.registry import Change
from services.ingest.settings import IngestSettings
from tests.integration.ingest.calls import create, download, upload
from tests.integration.ingest.places import CrowdedStore, Place
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub


async def test_published_datasets_come_back_after_the_database_was_lost(
    settings: IngestSettings, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")
    before = settings.model_copy(update={"store": store})
    async with (
        running_server(build(before)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = DatasetServiceStub(channel)
        ready = await upload(stub, {SPLIT_TRAIN: as_csv()}, keep_raw=True)
        assert ready.state == Dataset.STATE_READY
        await create(stub, "Still empty")
        usage = await stub.GetUsage(messages.GetUsageRequest())
    after = before.model_copy(update={"data_directory": tmp_path / "another"})
    assert after.database_url != before.database_url

    async with (
        running_server(build(after)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = DatasetServiceStub(channel)
        restored = await restored_dataset(stub, ready.name)
        raw = await download(stub, ready.name, content=3, split=SPLIT_TRAIN)
        again = await stub.GetUsage(messages.GetUsageRequest())
        preview = await stub.PreviewDataset(messages.PreviewDatasetRequest(name=ready.name))

    for lost in ("update_time", "etag"):
        ready.ClearField(lost)
        restored.ClearField(lost)
    assert restored == ready
    assert raw == as_csv()
    assert (again.stored_bytes, again.row_count) == (usage.stored_bytes, len(ROWS))
    assert sum(split.row_count for split in preview.splits) == len(ROWS)


def test_what_is_known_or_unreadable_is_left_alone(
    place: Place, store: ObjectStore, tmp_path: Path
) -> None:
    record = place.finalised(as_csv())
    assert place.worker.run_one()
    store.create("default/datasets/broken-abcdef/dataset.json", b"{")
    store.create("default/datasets/no_id!/dataset.json", b"{}")
    store.create("_shared/datasets/tone-abcdef/dataset.json", b"{}")
    store.create("other/models/tone-abcdef/model.json", b"{}")

    assert reconcile(place.database, store) == 0

    empty = _empty_database(tmp_path)
    assert reconcile(empty, store) == 1
    assert reconcile(empty, store) == 0
    other = Place(empty, store, tmp_path / "scratch2")
    before, after = (
        place.registry.get("default", record.id),
        other.registry.get("default", record.id),
    )
    assert after.splits == before.splits
    assert after.report == before.report
    assert after.options == before.options
    empty.close()


def test_names_and_ends_come_back_as_they_were_last(place: Place, tmp_path: Path) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    created, changed, endless = (_ending(place, ends) for _ in range(3))
    renamed = _ending(place, ends, renamed="Feeling")
    place.registry.update("default", changed, Change(display_name="Mood"))
    later = Change(expires=True, expire_time=ends + timedelta(days=1))
    place.registry.update("default", changed, later)
    place.registry.update("default", endless, Change(expires=True))

    empty = _empty_database(tmp_path)
    assert reconcile(empty, place.store) == 4

    found = Place(empty, place.store, tmp_path / "scratch2").registry
    records = [found.get("default", dataset) for dataset in (created, changed, endless, renamed)]
    assert [(record.display_name, record.expire_time) for record in records] == [
        ("Tone", ends),
        ("Mood", ends + timedelta(days=1)),
        ("Tone", None),
        ("Feeling", ends),
    ]
    empty.close()


def _ending(place: Place, expire_time: datetime, *, renamed: str = "") -> str:
    """Publish a dataset that ends; return its id."""
    wanted = NewDataset(display_name="Tone", options=DatasetOptions(), expire_time=expire_time)
    record = place.creation.create("default", wanted)
    writer = place.uploads.open("default", record.id, Split.TRAIN)
    writer.add(0, as_csv())
    writer.flush()
    place.registry.finalize("default", record.id, {})
    if renamed:
        # The worker, which tidies up behind itself, is to leave this.
        place.registry.update("default", record.id, Change(display_name=renamed))
    assert place.worker.run_one()
    return record.id


def test_every_tenant_is_looked_at(store: ObjectStore, tmp_path: Path) -> None:
    source = _empty_database(tmp_path / "source")
    place = Place(source, store, tmp_path / "scratch")
    manifest = f"default/datasets/{_published(place)}/dataset.json"
    content = b"".join(store.get(manifest))
    for tenant in ("default-2", "default0", "zebra"):
        store.create(f"{tenant}/datasets/tone-abcdef/dataset.json", content)
    database = _empty_database(tmp_path)

    assert reconcile(database, store) == 4

    for each in (database, source):
        each.close()


def test_a_dataset_that_is_deleted_meanwhile_does_not_come_back(
    store: ObjectStore, tmp_path: Path
) -> None:
    source = _empty_database(tmp_path / "source")
    place = Place(source, store, tmp_path / "scratch")
    dataset = _published(place)
    database = _empty_database(tmp_path)
    manifest = f"default/datasets/{dataset}/dataset.json"

    class Deleting(CrowdedStore):
        """Somebody else deletes the dataset right after its manifest was read."""

        def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
            yield from super().get(key, offset=offset, length=length)
            store.delete(manifest)

    assert reconcile(database, Deleting(store)) == 0

    restored = Place(database, store, tmp_path / "scratch2").registry
    page = page_request(page_size=0, page_token="", scope=())
    assert not restored.list("default", page).items
    for each in (database, source):
        each.close()


async def restored_dataset(stub: DatasetServiceAsyncStub, name: str) -> Dataset:
    """Wait until the server, which looks in the background, has found a dataset again."""
    while True:
        try:
            return await stub.GetDataset(messages.GetDatasetRequest(name=name))
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND  # noqa: PT017  # until it is found
            await asyncio.sleep(0.01)


def _published(place: Place) -> str:
    record = place.finalised(as_csv())
    assert place.worker.run_one()
    return record.id


def _empty_database(folder: Path) -> Database:
    database = Database(f"sqlite:///{folder}/empty.sqlite")
    database.upgrade(MIGRATIONS)
    return database
