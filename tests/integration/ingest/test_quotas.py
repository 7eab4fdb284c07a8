"""What tenants and streams may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from tests.integration.ingest.calls import create, details, write
from tests.integration.ingest.served import served, settings_on


async def test_a_tenant_uploads_to_so_many_datasets_at_once(tmp_path: Path) -> None:
    async with served(settings_on(None, tmp_path, max_uploads_per_tenant=2)) as stub:
        first = await create(stub)
        await create(stub)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await create(stub)
        await stub.DeleteDataset(messages.DeleteDatasetRequest(name=first.name))
        await create(stub)
        usage = await stub.GetUsage(messages.GetUsageRequest())

    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(raised.value)[0] == "QUOTA_EXCEEDED"
    assert (usage.upload_count, usage.max_upload_count) == (2, 2)


async def test_a_tenant_stores_so_many_bytes_and_keeps_what_fitted(tmp_path: Path) -> None:
    part = 64 << 10
    settings = settings_on(None, tmp_path, max_stored_bytes_per_tenant=5 * part)
    async with served(settings) as stub:
        first, second = await create(stub), await create(stub)
        await write(stub, first.name, b"x" * (3 * part))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await write(stub, second.name, b"x" * (3 * part))
        usage = await stub.GetUsage(messages.GetUsageRequest())
        shown = await stub.GetDataset(messages.GetDatasetRequest(name=second.name))

    assert details(raised.value)[0] == "QUOTA_EXCEEDED"
    assert usage.stored_bytes <= usage.max_stored_bytes == 5 * part
    (kept,) = shown.uploads
    assert 0 < kept.committed_size == usage.stored_bytes - 3 * part


async def trickle(name: str, pause: float) -> AsyncIterator[messages.WriteDatasetRequest]:
    yield messages.WriteDatasetRequest(name=name, split=SPLIT_TRAIN, data=b"some,1\n")
    for _ in range(600):
        await asyncio.sleep(pause)
        yield messages.WriteDatasetRequest(data=b"x")


@pytest.mark.parametrize(
    ("pause", "setting"),
    [(30.0, "stream_idle_seconds"), (0.05, "stream_min_bytes_per_second")],
    ids=["silent", "trickling"],
)
async def test_a_slow_stream_is_ended_and_what_it_brought_is_kept(
    tmp_path: Path, pause: float, setting: str
) -> None:
    settings = settings_on(
        None, tmp_path, stream_idle_seconds=0.4, stream_min_bytes_per_second=1000
    )
    async with served(settings) as stub:
        dataset = await create(stub)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.WriteDataset(trickle(dataset.name, pause))
        shown = await stub.GetDataset(messages.GetDatasetRequest(name=dataset.name))

    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert setting in (raised.value.details() or "")
    assert shown.uploads[0].committed_size >= len(b"some,1\n")


async def test_a_slow_check_is_ended(tmp_path: Path) -> None:
    async def silent() -> AsyncIterator[messages.CheckDatasetRequest]:
        yield messages.CheckDatasetRequest(split=SPLIT_TRAIN, data=b"some,1\n")
        await asyncio.sleep(30)

    async with served(settings_on(None, tmp_path, stream_idle_seconds=0.3)) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.CheckDataset(silent())

    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
