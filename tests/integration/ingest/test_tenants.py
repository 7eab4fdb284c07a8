"""Two tenants on one server, and what each role may do."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from services.common.server import running_server
from services.ingest.__main__ import build
from services.ingest.settings import IngestSettings
from tests.integration.ingest.calls import create, upload, verdict, write
from tests.messages import as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

KEYS = {
    "one-writes": ("one", "write"),
    "one-reads": ("one", "read"),
    "two-writes": ("two", "write"),
}


class _Keyed:
    """A stub that sends an API key with every call."""

    def __init__(self, stub: DatasetServiceAsyncStub, key: str) -> None:
        self._stub = stub
        self._metadata = (("authorization", f"Bearer {key}"),)

    def __getattr__(self, method: str) -> partial[Any]:
        return partial(getattr(self._stub, method), metadata=self._metadata)


def _table() -> str:
    return "\n".join(
        f'[[keys]]\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
        f'tenant = "{tenant}"\nrole = "{role}"\nname = "{key}"\n'
        for key, (tenant, role) in KEYS.items()
    )


@pytest.fixture
async def stub(settings: IngestSettings, tmp_path: Path) -> AsyncIterator[DatasetServiceAsyncStub]:
    (tmp_path / "keys.toml").write_text(_table())
    with_keys = IngestSettings(**{**settings.model_dump(), "api_keys_file": tmp_path / "keys.toml"})
    async with (
        running_server(build(with_keys)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield DatasetServiceStub(channel)


def _as(stub: DatasetServiceAsyncStub, key: str) -> DatasetServiceAsyncStub:
    return cast("DatasetServiceAsyncStub", _Keyed(stub, key))


async def test_no_tenant_sees_or_touches_what_another_has(stub: DatasetServiceAsyncStub) -> None:
    one, two = _as(stub, "one-writes"), _as(stub, "two-writes")
    dataset = await upload(one, {SPLIT_TRAIN: as_csv()})
    assert dataset.state == Dataset.STATE_READY

    name = dataset.name
    refused: list[Awaitable[Any]] = [
        two.GetDataset(messages.GetDatasetRequest(name=name)),
        two.PreviewDataset(messages.PreviewDatasetRequest(name=name)),
        two.ListFindings(messages.ListFindingsRequest(parent=name)),
        two.FinalizeDataset(messages.FinalizeDatasetRequest(name=name)),
        two.DeleteDataset(messages.DeleteDatasetRequest(name=name)),
        write(two, name, b"x, 1\n"),
        verdict(two, name),
    ]
    for call in refused:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert not (await two.ListDatasets(messages.ListDatasetsRequest())).datasets
    assert len((await one.ListDatasets(messages.ListDatasetsRequest())).datasets) == 1


async def test_a_page_token_of_one_tenant_is_none_of_another(stub: DatasetServiceAsyncStub) -> None:
    one, two = _as(stub, "one-writes"), _as(stub, "two-writes")
    for _ in range(2):
        await create(one)
    page = await one.ListDatasets(messages.ListDatasetsRequest(page_size=1))

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await two.ListDatasets(messages.ListDatasetsRequest(page_token=page.next_page_token))

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_reader_reads_and_no_more(stub: DatasetServiceAsyncStub) -> None:
    reader, writer = _as(stub, "one-reads"), _as(stub, "one-writes")
    dataset = await upload(writer, {SPLIT_TRAIN: as_csv()})

    name = dataset.name
    assert (await reader.GetDataset(messages.GetDatasetRequest(name=name))).name == name
    assert (await verdict(reader, name)).state == Dataset.STATE_READY
    await reader.PreviewDataset(messages.PreviewDatasetRequest(name=name))
    await reader.ListFindings(messages.ListFindingsRequest(parent=name))
    for call in (
        create(reader),
        write(reader, name, b"x, 1\n"),
        reader.FinalizeDataset(messages.FinalizeDatasetRequest(name=name)),
        reader.DeleteDataset(messages.DeleteDatasetRequest(name=name)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_nobody_comes_in_without_a_key(stub: DatasetServiceAsyncStub) -> None:
    for keyless in (stub, _as(stub, "a-guess")):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await keyless.ListDatasets(messages.ListDatasetsRequest())
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
