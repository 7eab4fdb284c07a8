"""A small servicer of the real contracts, for tests of what common brings to servers."""

# ruff: noqa: N802, ARG002, ANN401 - gRPC's names and arguments; the stubs type the messages
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty
from pydantic_settings import SettingsConfigDict

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.dataset_service_pb2_grpc import (
    DatasetServiceServicer,
    DatasetServiceStub,
    add_DatasetServiceServicer_to_server,
)
from services.common.errors import NotFound
from services.common.identity import Role, current_principal
from services.common.interceptor import CallObserver, remaining_seconds
from services.common.server import Application, RunningServer, Service, running_server
from services.common.settings import ServiceSettings

if TYPE_CHECKING:
    # Only the type checker knows it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

NAME = "isogloss.v1.DatasetService"
ROLES = {
    f"/{NAME}/CreateDataset": Role.WRITE,
    f"/{NAME}/WriteDataset": Role.WRITE,
    f"/{NAME}/FinalizeDataset": Role.WRITE,
    f"/{NAME}/CheckDataset": Role.WRITE,
    f"/{NAME}/GenerateUploadUrl": Role.WRITE,
    f"/{NAME}/ImportDataset": Role.WRITE,
    f"/{NAME}/AppendDataset": Role.WRITE,
    f"/{NAME}/UpdateDataset": Role.WRITE,
    f"/{NAME}/DiffDatasets": Role.READ,
    f"/{NAME}/DownloadDataset": Role.READ,
    f"/{NAME}/GetUsage": Role.READ,
    f"/{NAME}/GetDataset": Role.READ,
    f"/{NAME}/ListDatasets": Role.READ,
    f"/{NAME}/WatchDataset": Role.READ,
    f"/{NAME}/DeleteDataset": Role.ADMIN,
    f"/{NAME}/PreviewDataset": Role.READ,
    f"/{NAME}/ListFindings": Role.READ,
}


class SampleSettings(ServiceSettings):
    """Settings of the sample."""

    model_config = SettingsConfigDict(env_prefix="ISOGLOSS_SAMPLE_")
    service: ClassVar[str] = "sample"


class SampleServicer(DatasetServiceServicer):
    """Keeps the names of datasets per tenant; `fail` makes a method raise."""

    def __init__(self) -> None:
        self.fail: Callable[[], Any] = lambda: None
        self.datasets: dict[str, list[str]] = {}
        self.cleaned: list[str] = []
        self.entered = asyncio.Event()
        self.left: float | None = None

    def _enter(self) -> str:
        self.left = remaining_seconds()
        self.entered.set()
        self.fail()
        return current_principal().tenant

    async def CreateDataset(self, request: Any, context: Any) -> Dataset:
        tenant = self._enter()
        self.datasets.setdefault(tenant, []).append(request.dataset.display_name)
        return Dataset(name=f"datasets/{request.dataset.display_name}")

    async def GetDataset(self, request: Any, context: Any) -> Dataset:
        tenant = await asyncio.to_thread(self._enter)
        if request.name.removeprefix("datasets/") not in self.datasets.get(tenant, []):
            raise NotFound(request.name)
        return Dataset(name=request.name)

    async def ListDatasets(self, request: Any, context: Any) -> messages.ListDatasetsResponse:
        names = self.datasets.get(self._enter(), [])
        return messages.ListDatasetsResponse(
            datasets=[Dataset(name=f"datasets/{name}") for name in names]
        )

    async def WriteDataset(
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> messages.WriteDatasetResponse:
        self._enter()
        size = 0
        async for request in request_iterator:
            size += len(request.data)
        return messages.WriteDatasetResponse(committed_size=size)

    async def WatchDataset(self, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            yield messages.WatchDatasetResponse()
            self._enter()
            await asyncio.Event().wait()
        finally:
            self.cleaned.append("watch")

    async def DeleteDataset(self, request: Any, context: Any) -> Empty:
        self._enter()
        return Empty()

    async def FinalizeDataset(self, request: Any, context: Any) -> Dataset:
        """Never ends by itself."""
        try:
            self._enter()
            await asyncio.Event().wait()
        finally:
            self.cleaned.append("finalize")
        return Dataset()

    async def PreviewDataset(self, request: Any, context: Any) -> messages.PreviewDatasetResponse:
        self._enter()
        return messages.PreviewDatasetResponse()

    async def ListFindings(self, request: Any, context: Any) -> messages.ListFindingsResponse:
        """Aborts by itself, as a servicer should not, but a library may."""
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "by itself")
        raise AssertionError

    async def CheckDataset(
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> messages.CheckDatasetResponse:
        self._enter()
        return messages.CheckDatasetResponse()

    async def GenerateUploadUrl(
        self, request: Any, context: Any
    ) -> messages.GenerateUploadUrlResponse:
        self._enter()
        return messages.GenerateUploadUrlResponse()

    async def ImportDataset(self, request: Any, context: Any) -> Dataset:
        self._enter()
        return Dataset()

    async def AppendDataset(self, request: Any, context: Any) -> Dataset:
        self._enter()
        return Dataset()

    async def UpdateDataset(self, request: Any, context: Any) -> Dataset:
        self._enter()
        return Dataset()

    async def DiffDatasets(self, request: Any, context: Any) -> messages.DiffDatasetsResponse:
        self._enter()
        return messages.DiffDatasetsResponse()

    async def DownloadDataset(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._enter()
        yield messages.DownloadDatasetResponse()

    async def GetUsage(self, request: Any, context: Any) -> messages.Usage:
        self._enter()
        return messages.Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    method: str
    code: grpc.StatusCode


@dataclass
class Observer:
    """Keeps what it was told."""

    ended: list[Ended] = field(default_factory=list)

    def observe(self, *, method: str, code: grpc.StatusCode, seconds: float) -> None:
        assert seconds >= 0
        self.ended.append(Ended(method=method.rpartition("/")[2], code=code))

    def codes(self, method: str) -> list[grpc.StatusCode]:
        return [ended.code for ended in self.ended if ended.method == method]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A running sample and a way to it."""

    server: RunningServer
    servicer: SampleServicer
    observer: Observer
    stub: DatasetServiceAsyncStub


def application(
    settings: ServiceSettings,
    servicer: SampleServicer,
    *,
    roles: dict[str, Role] | None = None,
    background: tuple[Callable[[], Awaitable[None]], ...] = (),
    close: tuple[Callable[[], None], ...] = (),
    observers: tuple[CallObserver, ...] = (),
) -> Application:
    return Application(
        settings=settings,
        services=[Service(name=NAME, servicer=servicer, add=add_DatasetServiceServicer_to_server)],
        roles=ROLES if roles is None else roles,
        background=background,
        close=close,
        observers=observers,
    )


@asynccontextmanager
async def running_sample(*, folder: Path | None = None, **settings: Any) -> AsyncIterator[Sample]:
    """Run the sample on a free port, and a channel to it."""
    observer = Observer()
    servicer = SampleServicer()
    chosen = SampleSettings(
        **{"address": "127.0.0.1:0", "data_directory": folder or Path("none"), **settings}
    )
    async with (
        running_server(application(chosen, servicer, observers=(observer,))) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = DatasetServiceStub(channel)
        yield Sample(server=server, servicer=servicer, observer=observer, stub=stub)
