"""DatasetService on the wire: parse, call the domain in a thread, convert."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc.aio import ServicerContext

from isogloss.v1 import dataset_pb2, dataset_service_pb2_grpc
from isogloss.v1 import dataset_service_pb2 as messages
from services.common.identity import current_principal
from services.common.pace import Pace, paced, taken
from services.common.slots import Slots
from services.ingest.calls import dataset_id, on_scratch
from services.ingest.check import Checker
from services.ingest.convert.datasets import (
    dataset_to_proto,
    declared_from_proto,
    split_from_proto,
)
from services.ingest.convert.requests import (
    change_from_proto,
    new_dataset_from_proto,
    sources_from_proto,
)
from services.ingest.convert.responses import (
    check_to_proto,
    signed_to_proto,
    usage_to_proto,
)
from services.ingest.creation import Creation
from services.ingest.deletion import Deletion
from services.ingest.registry import Registry
from services.ingest.streams import MOST_PARTS_AT_ONCE, CheckStream, WriteStream
from services.ingest.uploading.direct import DirectUploads
from services.ingest.uploading.imports import Imports
from services.ingest.uploading.quotas import Quotas
from services.ingest.viewing import Viewer

Context = ServicerContext[Any, Any]


class DatasetServicer(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Answers the calls of `DatasetService`."""

    def __init__(
        self,
        *,
        creation: Creation,
        registry: Registry,
        deletion: Deletion,
        direct: DirectUploads,
        imports: Imports,
        checker: Checker,
        viewer: Viewer,
        wake: Callable[[], None],
        quotas: Quotas,
        pace: Pace,
        concurrent_uploads: int,
        checking: Slots,
    ) -> None:
        """Keep the parts.

        Args:
            creation: Makes datasets.
            registry: The datasets that there are.
            deletion: Their end.
            direct: Lets their bytes pass this service by.
            imports: Makes datasets of files that lie elsewhere.
            checker: Judges files that become no dataset.
            viewer: Shows what there is.
            wake: Tells the validators and importers that there is work.
            quotas: What a tenant may have.
            pace: What a stream must send at least.
            concurrent_uploads: Streams of WriteDataset at the same time: each holds memory.
            checking: One is taken by each check.
        """
        self._creation = creation
        self._registry = registry
        self._deletion = deletion
        self._direct = direct
        self._imports = imports
        self._checker = checker
        self._viewer = viewer
        self._wake = wake
        self._quotas = quotas
        self._pace = pace
        self._uploading = Slots(concurrent_uploads, what="uploads")
        self._storing = asyncio.Semaphore(MOST_PARTS_AT_ONCE)
        self._checking = checking

    async def CreateDataset(  # noqa: N802  # the contract's
        self, request: messages.CreateDatasetRequest, context: Context
    ) -> dataset_pb2.Dataset:
        """Create a dataset that is ready to be written to."""
        del context
        record = await asyncio.to_thread(
            self._creation.create,
            current_principal().tenant,
            new_dataset_from_proto(request.dataset),
            request_id=request.request_id,
            validate_only=request.validate_only,
        )
        return dataset_to_proto(record)

    async def AppendDataset(  # noqa: N802
        self, request: messages.AppendDatasetRequest, context: Context
    ) -> dataset_pb2.Dataset:
        """Create a dataset that begins with the rows of another."""
        del context
        record = await asyncio.to_thread(
            self._creation.append,
            current_principal().tenant,
            dataset_id(request.parent_dataset, field="parent_dataset"),
            new_dataset_from_proto(request.dataset),
            request_id=request.request_id,
        )
        return dataset_to_proto(record)

    async def WriteDataset(  # noqa: N802
        self, request_iterator: AsyncIterator[messages.WriteDatasetRequest], context: Context
    ) -> messages.WriteDatasetResponse:
        """Store bytes; whatever arrived is kept, however the stream ends."""
        del context
        tenant = current_principal().tenant
        with self._uploading.taken(tenant):
            stream = WriteStream(self._registry, tenant, self._storing)
            try:
                async for request, data in paced(request_iterator, self._pace):
                    await stream.take(request, data)
                stream.check_begun()
            finally:
                # A stream that breaks cancels this call; what it brought is stored nonetheless.
                committed = await asyncio.shield(stream.flush())
        return messages.WriteDatasetResponse(committed_size=committed)

    async def CheckDataset(  # noqa: N802
        self, request_iterator: AsyncIterator[messages.CheckDatasetRequest], context: Context
    ) -> messages.CheckDatasetResponse:
        """Judge whole files and keep nothing of them."""
        del context
        with self._checking.taken(current_principal().tenant), on_scratch():
            stream = CheckStream(self._checker)
            try:
                async for request, data in paced(request_iterator, self._pace):
                    await stream.take(request, data)
                return check_to_proto(await stream.result())
            finally:
                await asyncio.shield(stream.close())

    async def GenerateUploadUrl(  # noqa: N802
        self, request: messages.GenerateUploadUrlRequest, context: Context
    ) -> messages.GenerateUploadUrlResponse:
        """Let the caller send bytes straight into the store."""
        del context
        signed = await asyncio.to_thread(
            self._direct.sign,
            current_principal().tenant,
            dataset_id(request.name),
            split_from_proto(request.split),
            offset=request.offset,
            size=request.size_bytes,
        )
        return signed_to_proto(signed)

    async def ImportDataset(  # noqa: N802
        self, request: messages.ImportDatasetRequest, context: Context
    ) -> dataset_pb2.Dataset:
        """Create a dataset of files that lie elsewhere."""
        del context
        record = await asyncio.to_thread(
            self._imports.create,
            current_principal().tenant,
            new_dataset_from_proto(request.dataset),
            sources_from_proto(request.sources),
            request_id=request.request_id,
        )
        self._wake()
        return dataset_to_proto(record)

    async def FinalizeDataset(  # noqa: N802
        self, request: messages.FinalizeDatasetRequest, context: Context
    ) -> dataset_pb2.Dataset:
        """Check the upload and start validation."""
        del context
        record = await asyncio.to_thread(
            self._registry.finalize,
            current_principal().tenant,
            dataset_id(request.name),
            declared_from_proto(request.checksums),
        )
        self._wake()
        return dataset_to_proto(record)

    async def UpdateDataset(  # noqa: N802
        self, request: messages.UpdateDatasetRequest, context: Context
    ) -> dataset_pb2.Dataset:
        """Change what can be changed of a dataset."""
        del context
        tenant, dataset = current_principal().tenant, dataset_id(request.dataset.name)
        change = change_from_proto(request)
        record = await asyncio.to_thread(self._registry.update, tenant, dataset, change)
        return await self._viewer.shown(record)

    async def GetDataset(  # noqa: N802
        self, request: messages.GetDatasetRequest, context: Context
    ) -> dataset_pb2.Dataset:
        """Return one dataset."""
        del context
        return await self._viewer.get(request)

    async def ListDatasets(  # noqa: N802
        self, request: messages.ListDatasetsRequest, context: Context
    ) -> messages.ListDatasetsResponse:
        """Return one page of datasets, newest first."""
        del context
        return await self._viewer.list(request)

    async def WatchDataset(  # noqa: N802
        self, request: messages.WatchDatasetRequest, context: Context
    ) -> AsyncIterator[messages.WatchDatasetResponse]:
        """Send the dataset now, at each change, and at last in READY or FAILED."""
        del context
        async with aclosing(self._viewer.watch(request)) as responses:
            async for response in responses:
                yield response

    async def DeleteDataset(  # noqa: N802
        self, request: messages.DeleteDatasetRequest, context: Context
    ) -> Empty:
        """Delete a dataset and all that is stored of it."""
        del context
        await asyncio.to_thread(
            self._deletion.delete,
            current_principal().tenant,
            dataset_id(request.name),
            purge=request.purge,
            etag=request.etag,
        )
        return Empty()

    async def PreviewDataset(  # noqa: N802
        self, request: messages.PreviewDatasetRequest, context: Context
    ) -> messages.PreviewDatasetResponse:
        """Show the first rows of each split."""
        del context
        return await self._viewer.preview(request)

    async def DiffDatasets(  # noqa: N802
        self, request: messages.DiffDatasetsRequest, context: Context
    ) -> messages.DiffDatasetsResponse:
        """Compare two datasets."""
        del context
        return await self._viewer.diff(request)

    async def DownloadDataset(  # type: ignore[override]  # noqa: N802  # writes, for a time limit
        self, request: messages.DownloadDatasetRequest, context: Context
    ) -> None:
        """Send what a dataset holds, as long as the caller takes it."""
        async with aclosing(await self._viewer.download(request)) as responses:
            async for response in responses:
                await taken(context.write(response), self._pace, len(response.data))

    async def GetUsage(  # noqa: N802
        self, request: messages.GetUsageRequest, context: Context
    ) -> messages.Usage:
        """Tell what the caller's tenant stores and may store."""
        del request, context
        usage = await asyncio.to_thread(self._registry.usage, current_principal().tenant)
        return usage_to_proto(
            usage,
            max_uploads=self._quotas.max_uploads,
            max_stored_bytes=self._quotas.max_stored_bytes,
        )

    async def ListFindings(  # noqa: N802
        self, request: messages.ListFindingsRequest, context: Context
    ) -> messages.ListFindingsResponse:
        """Return one page of findings, by split and line."""
        del context
        return await self._viewer.findings(request)
