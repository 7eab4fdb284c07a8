"""UpdateDataset, etags, filters of ListDatasets, GetUsage, and request ids that expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from services.common.storage import open_store
from services.ingest.creation import NewDataset
from services.ingest.dataset import DatasetOptions
from services.ingest.settings import IngestSettings
from services.ingest.tables import RequestRow
from tests.integration.ingest.calls import create, details, upload, write
from tests.integration.ingest.places import Place
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub


def after(days: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC) + timedelta(days=days))
    return stamp


def update(*paths: str, **fields: Any) -> messages.UpdateDatasetRequest:  # noqa: ANN401  # of Dataset
    return messages.UpdateDatasetRequest(
        dataset=Dataset(**fields), update_mask=FieldMask(paths=paths)
    )


async def test_a_name_and_an_end_can_be_changed_and_taken_away(
    stub: DatasetServiceAsyncStub,
) -> None:
    created = await create(stub)
    end = after(1)

    renamed = await stub.UpdateDataset(update(name=created.name, display_name="Mood"))
    ending = await stub.UpdateDataset(update("expire_time", name=created.name, expire_time=end))
    lasting = await stub.UpdateDataset(update("expire_time", name=created.name))
    both = await stub.UpdateDataset(
        update("*", name=created.name, display_name="Tone", expire_time=end)
    )

    assert renamed.display_name == "Mood"
    assert ending.display_name == "Mood"
    assert ending.expire_time == end
    assert not lasting.HasField("expire_time")
    assert (both.display_name, both.expire_time) == ("Tone", end)
    etags = [each.etag for each in (created, renamed, ending, lasting, both)]
    assert len(set(etags)) == 5
    read = await stub.GetDataset(messages.GetDatasetRequest(name=created.name))
    assert read == both


async def test_a_change_of_what_has_changed_meanwhile_is_refused(
    stub: DatasetServiceAsyncStub,
) -> None:
    created = await create(stub)
    first = update(name=created.name, display_name="Mood", etag=created.etag)

    await stub.UpdateDataset(first)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.UpdateDataset(update(name=created.name, display_name="Tone", etag=created.etag))

    assert raised.value.code() is grpc.StatusCode.ABORTED
    reason, metadata, _ = details(raised.value)
    assert reason == "ETAG_MISMATCH"
    now = await stub.GetDataset(messages.GetDatasetRequest(name=created.name))
    assert metadata == {"name": created.name, "etag": now.etag}
    assert now.display_name == "Mood"


async def test_a_state_is_part_of_the_etag(stub: DatasetServiceAsyncStub) -> None:
    created = await create(stub)
    ready = await upload(stub, {SPLIT_TRAIN: as_csv()})

    same = await stub.GetDataset(messages.GetDatasetRequest(name=ready.name))

    assert same.etag == ready.etag != created.etag


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (update("options", "state", name="N", display_name="x"), ["update_mask", "update_mask"]),
        (update(name="N"), ["update_mask"]),
        (update("display_name", name="N"), ["dataset.display_name"]),
        (
            update(name="N", display_name="x" * 101, expire_time=after(-1)),
            ["dataset.display_name", "dataset.expire_time"],
        ),
        (
            update(name="N", expire_time=Timestamp(seconds=1 << 60)),
            ["dataset.expire_time"],
        ),
        (update(display_name="x"), ["name"]),
    ],
)
async def test_every_part_of_a_wrong_change_is_named(
    stub: DatasetServiceAsyncStub, request_: messages.UpdateDatasetRequest, fields: list[str]
) -> None:
    created = await create(stub)
    request = messages.UpdateDatasetRequest()
    request.CopyFrom(request_)
    if request.dataset.name:
        request.dataset.name = created.name

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.UpdateDataset(request)

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(raised.value)[2] == fields


async def test_a_dataset_can_be_created_with_its_end(stub: DatasetServiceAsyncStub) -> None:
    end = after(7)
    dataset = Dataset(display_name="Tone", expire_time=end)

    created = await stub.CreateDataset(messages.CreateDatasetRequest(dataset=dataset))
    dataset.expire_time.CopyFrom(after(-7))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.CreateDataset(messages.CreateDatasetRequest(dataset=dataset))

    assert created.expire_time == end
    assert details(raised.value)[2] == ["dataset.expire_time"]


async def test_datasets_are_found_by_state_and_by_part_of_their_name(
    stub: DatasetServiceAsyncStub,
) -> None:
    names = ("Änderungen 2024", "Tone 100%", "TONE 1000")
    created = [await create(stub, name) for name in names]
    ready = await upload(stub, {SPLIT_TRAIN: as_csv()})

    async def found(**filters: Any) -> list[str]:  # noqa: ANN401  # fields of the request
        response = await stub.ListDatasets(messages.ListDatasetsRequest(**filters))
        return [dataset.name for dataset in response.datasets]

    assert await found(query="ÄNDER") == [created[0].name]
    assert await found(query="tone 1") == [created[2].name, created[1].name]
    assert await found(query="100%") == [created[1].name]
    assert await found(states=[Dataset.STATE_READY]) == [ready.name]
    assert await found(states=[Dataset.STATE_UPLOADING], query="1000") == [created[2].name]
    assert await found(states=[Dataset.STATE_FAILED]) == []
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await found(states=[Dataset.STATE_READY, Dataset.STATE_UNSPECIFIED])
    assert details(raised.value)[2] == ["states[1]"]


async def test_a_page_token_holds_for_its_filters_only(stub: DatasetServiceAsyncStub) -> None:
    for number in range(3):
        await create(stub, f"Tone {number}")
    first = await stub.ListDatasets(messages.ListDatasetsRequest(page_size=1, query="tone"))
    token = first.next_page_token

    second = await stub.ListDatasets(
        messages.ListDatasetsRequest(page_size=1, query="tone", page_token=token)
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.ListDatasets(messages.ListDatasetsRequest(query="ton", page_token=token))

    assert [dataset.display_name for dataset in second.datasets] == ["Tone 1"]
    assert details(raised.value)[2] == ["page_token"]


async def test_usage_counts_what_is_stored(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    nothing = await stub.GetUsage(messages.GetUsageRequest())
    ready = await upload(stub, {SPLIT_TRAIN: as_csv()})
    await upload(stub, {SPLIT_TRAIN: as_csv(ROWS[:20])})
    await create(stub)

    usage = await stub.GetUsage(messages.GetUsageRequest())

    assert (nothing.dataset_count, nothing.stored_bytes) == (0, 0)
    assert (usage.dataset_count, usage.upload_count) == (3, 1)
    assert usage.row_count == len(ROWS)
    store = open_store(settings.store_url)
    stored = [info for info in store.list("default/") if not info.key.endswith("dataset.json")]
    assert usage.stored_bytes == sum(info.size for info in stored)
    await stub.DeleteDataset(messages.DeleteDatasetRequest(name=ready.name))
    left = await stub.GetUsage(messages.GetUsageRequest())
    assert (left.dataset_count, left.row_count) == (2, 0)


async def test_bytes_count_as_soon_as_they_are_stored(stub: DatasetServiceAsyncStub) -> None:
    dataset = await create(stub)
    await write(stub, dataset.name, as_csv())

    usage = await stub.GetUsage(messages.GetUsageRequest())

    assert usage.stored_bytes == len(as_csv())


def test_a_request_id_is_forgotten_after_days(place: Place) -> None:
    wanted = NewDataset(display_name="Tone", options=DatasetOptions())

    def created(request_id: str) -> str:
        return place.creation.create("default", wanted, request_id=request_id).id

    old, new = created("old"), created("new")
    with place.database.write() as session:
        session.execute(
            sa.update(RequestRow)
            .where(RequestRow.request_id == "old")
            .values(create_time=datetime.now(UTC) - timedelta(days=8))
        )
    assert (created("old"), created("new")) == (old, new)

    place.creation.forget_requests()

    assert created("old") != old
    assert created("new") == new
