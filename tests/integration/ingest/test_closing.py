"""Uploads that meet a finalisation or a deletion: nothing acknowledged is lost, nothing stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from services.common.database import Database
from services.common.errors import Aborted, FailedPrecondition, NotFound, Reason
from services.common.server import running_server
from services.common.storage import ObjectStore, open_store
from services.ingest.__main__ import build
from services.ingest.dataset import Split, State
from services.ingest.settings import IngestSettings
from tests.integration.ingest.calls import create, details, verdict, write
from tests.integration.ingest.places import CrowdedStore, Place
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

CONTENT = as_csv(tuple((f"{text} number {n}", label) for n in range(8) for text, label in ROWS))
assert len(CONTENT) > 64 << 10  # a whole part, which is stored as soon as it is there


class OpenStream:
    """A stream of WriteDataset that has stored one part and goes on when it is told to."""

    def __init__(self, stub: DatasetServiceAsyncStub, name: str) -> None:
        self._stub = stub
        self._name = name
        self._rest: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.answer = asyncio.ensure_future(self._write())

    async def stored(self) -> None:
        """Wait for the first part."""
        while not self.answer.done():
            shown = await self._stub.GetDataset(messages.GetDatasetRequest(name=self._name))
            if shown.uploads:
                return
            await asyncio.sleep(0.02)

    async def end(self, rest: bytes = b"") -> int:
        """Send the rest; return the committed size."""
        self._rest.put_nowait(rest)
        self._rest.put_nowait(None)
        return await self.answer

    async def _write(self) -> int:
        return (await self._stub.WriteDataset(self._requests())).committed_size

    async def _requests(self) -> AsyncIterator[messages.WriteDatasetRequest]:
        yield messages.WriteDatasetRequest(name=self._name, split=SPLIT_TRAIN, data=CONTENT)
        while (rest := await self._rest.get()) is not None:
            yield messages.WriteDatasetRequest(data=rest)


async def test_a_stream_that_outlasts_finalisation_is_told_so(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    dataset = await create(stub)
    stream = OpenStream(stub, dataset.name)
    await stream.stored()

    await stub.FinalizeDataset(messages.FinalizeDatasetRequest(name=dataset.name))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.end(b"One more late row,0\n")

    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert details(raised.value)[0] == "STATE_CONFLICT"
    assert (await verdict(stub, dataset.name)).state == Dataset.STATE_READY
    assert not list(open_store(settings.store_url).list(f"default/{dataset.name}/raw/"))


async def test_a_stream_that_outlasts_deletion_leaves_no_text(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    dataset = await create(stub)
    stream = OpenStream(stub, dataset.name)
    await stream.stored()

    await stub.DeleteDataset(messages.DeleteDatasetRequest(name=dataset.name))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.end(b"A private row,0\n")

    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert not list(open_store(settings.store_url).list("default/"))


async def test_uploads_over_the_limit_are_told_to_come_back(settings: IngestSettings) -> None:
    limited = settings.model_copy(update={"concurrent_uploads": 1})
    async with (
        running_server(build(limited)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = DatasetServiceStub(channel)
        first, second = await create(stub), await create(stub)
        stream = OpenStream(stub, first.name)
        await stream.stored()

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await write(stub, second.name, CONTENT)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "try again" in str(raised.value.details())
        assert details(raised.value)[0] == "OVERLOADED"
        assert await stream.end() == len(CONTENT)

        assert await write(stub, second.name, CONTENT) == len(CONTENT)


@pytest.fixture
def crowded(store: ObjectStore) -> CrowdedStore:
    return CrowdedStore(store)


@pytest.fixture
def place(database: Database, crowded: CrowdedStore, tmp_path: Path) -> Place:
    return Place(database, crowded, tmp_path / "scratch")


def test_a_part_that_comes_after_the_count_is_refused_and_removed(
    place: Place, crowded: CrowdedStore, store: ObjectStore
) -> None:
    dataset = place.created().id
    writer = place.registry.write("default", dataset, Split.TRAIN)
    writer.add(0, CONTENT)
    writer.flush()
    writer.add(None, b"late,0\n")
    crowded.at("before create", lambda: place.registry.finalize("default", dataset, {}))

    with pytest.raises(FailedPrecondition) as raised:
        writer.flush()

    assert raised.value.reason is Reason.STATE_CONFLICT
    assert len(list(store.list("default/"))) == 1
    assert place.worker.run_one()
    assert place.registry.get("default", dataset).state is State.READY


def test_a_part_that_was_counted_is_acknowledged(place: Place, crowded: CrowdedStore) -> None:
    dataset = place.created().id
    writer = place.registry.write("default", dataset, Split.TRAIN)
    writer.add(0, CONTENT)
    crowded.at("after create", lambda: place.registry.finalize("default", dataset, {}))

    assert writer.flush() == len(CONTENT)

    assert place.worker.run_one()
    assert place.registry.get("default", dataset).state is State.READY


@pytest.mark.parametrize("moment", ["before create", "after create"])
def test_a_part_of_a_deleted_dataset_is_removed(
    place: Place, crowded: CrowdedStore, store: ObjectStore, moment: str
) -> None:
    dataset = place.created().id
    writer = place.registry.write("default", dataset, Split.TRAIN)
    writer.add(0, CONTENT)
    crowded.at(moment, lambda: place.deletion.delete("default", dataset))

    with pytest.raises(NotFound):
        writer.flush()

    assert list(store.list("default/")) == []


def test_bytes_acknowledged_while_finalisation_counts_are_not_left_out(
    place: Place, crowded: CrowdedStore
) -> None:
    dataset = place.created().id
    writer = place.registry.write("default", dataset, Split.TRAIN)
    writer.add(0, CONTENT)
    writer.flush()
    writer.add(None, b"in time,0\n")
    crowded.at("after list", writer.flush)

    with pytest.raises(Aborted, match="still arriving"):
        place.registry.finalize("default", dataset, {})

    finalised = place.registry.finalize("default", dataset, {})
    assert finalised.declared[Split.TRAIN].size_bytes == len(CONTENT) + len(b"in time,0\n")


def test_what_comes_while_a_deletion_removes_is_removed_too(
    place: Place, crowded: CrowdedStore, store: ObjectStore
) -> None:
    record = place.finalised(CONTENT)
    late = f"default/{record.name}/raw/train/{len(CONTENT):020d}"
    crowded.at("after delete", lambda: store.create(late, b"late"))

    place.deletion.delete("default", record.id)

    assert list(store.list("default/")) == []


def test_no_part_is_stored_for_a_dataset_that_is_known_to_be_closed(
    place: Place, crowded: CrowdedStore
) -> None:
    dataset = place.created().id
    writer, late = (place.registry.write("default", dataset, Split.TRAIN) for _ in range(2))
    writer.add(0, CONTENT)
    writer.flush()
    place.registry.finalize("default", dataset, {})
    late.add(0, b"late,0\n")
    stored: list[str] = []
    crowded.at("before create", lambda: stored.append("a part"))

    with pytest.raises(FailedPrecondition):
        late.flush()

    assert stored == []
