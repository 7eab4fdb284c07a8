"""Uploads past the service, straight into real S3 servers, as any HTTP client does them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
import urllib3

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.split_pb2 import SPLIT_TEST, SPLIT_TRAIN, Split
from services.ingest.settings import IngestSettings
from tests.engines import StoreServer
from tests.integration.ingest.calls import create, details, verdict, write
from tests.integration.ingest.served import served, settings_on
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

OK, EXISTS = 200, 412
CONTENT = as_csv()


@pytest.fixture(params=["minio", "seaweedfs"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> IngestSettings:
    server: StoreServer = request.getfixturevalue(request.param)
    return settings_on(server, tmp_path, max_file_bytes=len(CONTENT) + 100)


@pytest.fixture
async def stub(settings: IngestSettings) -> AsyncIterator[DatasetServiceAsyncStub]:
    async with served(settings) as stub:
        yield stub


async def address(
    stub: DatasetServiceAsyncStub,
    name: str,
    offset: int,
    size: int,
    split: Split.ValueType = SPLIT_TRAIN,
) -> messages.GenerateUploadUrlResponse:
    return await stub.GenerateUploadUrl(
        messages.GenerateUploadUrlRequest(name=name, split=split, offset=offset, size_bytes=size)
    )


async def put(signed: messages.GenerateUploadUrlResponse, content: bytes) -> int:
    def send() -> int:
        with urllib3.PoolManager(retries=False, timeout=20.0) as pool:
            return pool.request(
                "PUT", signed.url, body=content, headers=dict(signed.headers)
            ).status

    return await asyncio.to_thread(send)


async def finalize(stub: DatasetServiceAsyncStub, name: str) -> None:
    checksum = messages.UploadChecksum(
        split=SPLIT_TRAIN, size_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest()
    )
    await stub.FinalizeDataset(messages.FinalizeDatasetRequest(name=name, checksums=[checksum]))


async def test_parts_that_pass_the_service_by_become_a_dataset(
    stub: DatasetServiceAsyncStub,
) -> None:
    dataset = await create(stub)
    first = await address(stub, dataset.name, 0, 5000)

    assert await put(first, CONTENT[:5000]) == OK
    # The answer was lost, so the caller sends it again, then goes on.
    assert await put(first, b"x" * 5000) == EXISTS
    shown = await stub.GetDataset(messages.GetDatasetRequest(name=dataset.name))
    assert [upload.committed_size for upload in shown.uploads] == [5000]
    assert await write(stub, dataset.name, CONTENT[5000:9000], offset=5000) == 9000
    last = await address(stub, dataset.name, 9000, len(CONTENT) - 9000)
    assert await put(last, CONTENT[9000:]) == OK
    await finalize(stub, dataset.name)

    ready = await verdict(stub, dataset.name)
    assert ready.state == Dataset.STATE_READY
    assert sum(size.row_count for size in ready.report.splits) == len(ROWS)
    # Late bytes change nothing, wherever they lie until they are swept.
    assert await put(first, CONTENT[:5000]) in {OK, EXISTS}
    again = await stub.GetDataset(messages.GetDatasetRequest(name=dataset.name))
    assert again == ready


async def test_an_address_is_for_the_committed_size_and_within_the_limits(
    stub: DatasetServiceAsyncStub,
) -> None:
    dataset = await create(stub)
    await write(stub, dataset.name, CONTENT[:100])

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await address(stub, dataset.name, 99, 10)
    assert raised.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert details(raised.value)[1]["committed_size"] == "100"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await address(stub, dataset.name, 100, len(CONTENT) + 1)
    assert details(raised.value)[0] == "LIMIT_EXCEEDED"
    for size in (0, -1, (5 << 30) + 1):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await address(stub, dataset.name, 100, size)
        assert details(raised.value)[2] == ["size_bytes"]


async def test_files_that_are_too_large_together_are_found_when_they_are_finalised(
    settings: IngestSettings,
) -> None:
    tight = settings.model_copy(update={"max_dataset_bytes": 150})
    async with served(tight) as stub:
        dataset = await create(stub)
        # Each alone is within the limit when it is asked for.
        signed = [
            await address(stub, dataset.name, 0, 100, split) for split in (SPLIT_TRAIN, SPLIT_TEST)
        ]
        for each in signed:
            assert await put(each, b"x" * 100) == OK

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.FinalizeDataset(messages.FinalizeDatasetRequest(name=dataset.name))

    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(raised.value)[1]["setting"] == "max_dataset_bytes"


async def test_a_directory_gives_no_addresses(tmp_path: Path) -> None:
    async with served(settings_on(None, tmp_path)) as stub:
        dataset = await create(stub)

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await address(stub, dataset.name, 0, 10)

    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert details(raised.value)[0] == "STORE_UNSUITABLE"
