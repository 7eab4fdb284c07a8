"""What a client does, in a few words."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset, DatasetOptions
from isogloss.v1.split_pb2 import SPLIT_TRAIN, Split

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

_MESSAGE = 32 << 10


async def create(
    stub: DatasetServiceAsyncStub,
    display_name: str = "Tone",
    **options: Any,  # noqa: ANN401  # fields of DatasetOptions
) -> Dataset:
    return await stub.CreateDataset(
        messages.CreateDatasetRequest(
            dataset=Dataset(display_name=display_name, options=DatasetOptions(**options))
        )
    )


async def write(
    stub: DatasetServiceAsyncStub,
    name: str,
    content: bytes,
    *,
    split: Split.ValueType = SPLIT_TRAIN,
    offset: int | None = 0,
) -> int:
    async def requests() -> AsyncIterator[messages.WriteDatasetRequest]:
        yield messages.WriteDatasetRequest(name=name, split=split, offset=offset)
        for start in range(0, len(content), _MESSAGE):
            yield messages.WriteDatasetRequest(data=content[start : start + _MESSAGE])

    return (await stub.WriteDataset(requests())).committed_size


async def upload(
    stub: DatasetServiceAsyncStub,
    files: Mapping[Split.ValueType, bytes],
    **options: Any,  # noqa: ANN401  # fields of DatasetOptions
) -> Dataset:
    """Create a dataset, upload its files, and wait for the verdict."""
    dataset = await create(stub, **options)
    checksums = []
    for split, content in files.items():
        assert await write(stub, dataset.name, content, split=split) == len(content)
        checksums.append(
            messages.UploadChecksum(
                split=split, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
            )
        )
    await stub.FinalizeDataset(
        messages.FinalizeDatasetRequest(name=dataset.name, checksums=checksums)
    )
    return await verdict(stub, dataset.name)


async def verdict(stub: DatasetServiceAsyncStub, name: str) -> Dataset:
    last = Dataset()
    async for response in stub.WatchDataset(messages.WatchDatasetRequest(name=name)):
        last = response.dataset
    return last


def details(error: grpc.aio.AioRpcError) -> tuple[str, dict[str, str], list[str]]:
    """Return reason, metadata and violated fields of an error."""
    metadata = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(request)
    return info.reason, dict(info.metadata), [v.field for v in request.field_violations]


async def check(
    stub: DatasetServiceAsyncStub,
    files: Mapping[Split.ValueType, bytes],
    **options: Any,  # noqa: ANN401  # fields of DatasetOptions
) -> messages.CheckDatasetResponse:
    async def requests() -> AsyncIterator[messages.CheckDatasetRequest]:
        yield messages.CheckDatasetRequest(options=DatasetOptions(**options))
        for split, content in files.items():
            yield messages.CheckDatasetRequest(split=split)
            for start in range(0, len(content), _MESSAGE):
                yield messages.CheckDatasetRequest(
                    split=split, data=content[start : start + _MESSAGE]
                )

    return await stub.CheckDataset(requests())


async def download(
    stub: DatasetServiceAsyncStub,
    name: str,
    **wanted: Any,  # noqa: ANN401  # fields of DownloadDatasetRequest
) -> bytes:
    """Return everything, and see that the size was announced."""
    request = messages.DownloadDatasetRequest(name=name, **wanted)
    responses = [response async for response in stub.DownloadDataset(request)]
    content = b"".join(response.data for response in responses)
    assert [response.size_bytes for response in responses[1:]] == [0] * (len(responses) - 1)
    assert responses[0].size_bytes == len(content)
    assert all(len(response.data) <= 1 << 20 for response in responses)
    return content


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread or process is about to do."""
    while not holds():  # noqa: ASYNC110  # nothing tells when it has
        await asyncio.sleep(0.01)
