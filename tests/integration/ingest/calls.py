"""What a client does, in a few words."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
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
