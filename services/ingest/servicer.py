"""DatasetService on the wire: parse, call the domain in a thread, convert."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc.aio import ServicerContext

from isogloss.v1 import dataset_pb2, dataset_service_pb2_grpc
from isogloss.v1 import dataset_service_pb2 as messages
from services.common.errors import FieldViolation, InvalidArgument
from services.common.identity import current_principal
from services.common.pace import Pace, paced, taken
from services.common.pagination import page_request
from services.common.slots import Slots
from services.ingest.calls import Turns, dataset_id, on_scratch, run_stoppable
from services.ingest.check import Checker
from services.ingest.convert.datasets import (
    dataset_to_proto,
    declared_from_proto,
    finding_to_proto,
    split_from_proto,
)
from services.ingest.convert.report import count_to_proto
from services.ingest.convert.requests import (
    change_from_proto,
    codes_from_proto,
    new_dataset_from_proto,
    query_from_proto,
    sources_from_proto,
    states_from_proto,
    wanted_from_proto,
)
from services.ingest.convert.responses import (
    check_to_proto,
    difference_to_proto,
    preview_to_proto,
    signed_to_proto,
    usage_to_proto,
)
from services.ingest.creation import Creation, require
from services.ingest.dataset import State
from services.ingest.deletion import Deletion
from services.ingest.published.artefacts import ArtefactCache
from services.ingest.published.diff import Differences
from services.ingest.published.download import Downloads
from services.ingest.published.findings import list_findings
from services.ingest.published.preview import MAX_ROWS, at_hand, preview
from services.ingest.record import DatasetRecord
from services.ingest.registry import Registry
from services.ingest.streams import CheckStream, WriteStream, data_size, download_messages
from services.ingest.uploading.direct import DirectUploads
from services.ingest.uploading.imports import Imports
from services.ingest.uploading.quotas import Quotas
from services.ingest.uploading.uploads import Uploads

WATCH_SECONDS = 0.3
"""How often a watched dataset is looked at: often enough for an eye."""

_DEFAULT_ROWS = 10

_LOOKS = 8
"""Previews and pages of findings that are read at the same time: each has a DuckDB of one thread,
for some milliseconds."""

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
        uploads: Uploads,
        cache: ArtefactCache,
        checker: Checker,
        downloads: Downloads,
        differences: Differences,
        wake: Callable[[], None],
        quotas: Quotas,
        pace: Pace,
        concurrent_uploads: int,
        concurrent_checks: int,
    ) -> None:
        """Keep the parts.

        Args:
            creation: Makes datasets.
            registry: The datasets that there are.
            deletion: Their end.
            direct: Lets their bytes pass this service by.
            imports: Makes datasets of files that lie elsewhere.
            uploads: Their bytes.
            cache: Their published files.
            checker: Judges files that become no dataset.
            downloads: What datasets hold, as files.
            differences: Compares datasets.
            wake: Tells the validators and importers that there is work.
            quotas: What a tenant may have.
            pace: What a stream must send at least.
            concurrent_uploads: Streams of WriteDataset at the same time: each holds memory.
            concurrent_checks: Checks, comparisons and conversions at the same time: each has a
                DuckDB of its own.
        """
        self._creation = creation
        self._registry = registry
        self._deletion = deletion
        self._direct = direct
        self._imports = imports
        self._uploads = uploads
        self._cache = cache
        self._checker = checker
        self._downloads = downloads
        self._differences = differences
        self._wake = wake
        self._quotas = quotas
        self._pace = pace
        self._uploading = Slots(concurrent_uploads, what="uploads")
        self._checking = Slots(concurrent_checks, what="checks, comparisons and conversions")
        self._looks = Turns(_LOOKS)

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
            stream = WriteStream(self._registry, tenant)
            try:
                async for request in paced(request_iterator, self._pace, data_size):
                    await stream.take(request)
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
                async for request in paced(request_iterator, self._pace, data_size):
                    await stream.take(request)
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
        return await asyncio.to_thread(self._shown, record)

    async def GetDataset(  # noqa: N802
        self, request: messages.GetDatasetRequest, context: Context
    ) -> dataset_pb2.Dataset:
        """Return one dataset."""
        del context
        dataset = dataset_id(request.name)
        return await asyncio.to_thread(self._read, current_principal().tenant, dataset)

    async def ListDatasets(  # noqa: N802
        self, request: messages.ListDatasetsRequest, context: Context
    ) -> messages.ListDatasetsResponse:
        """Return one page of datasets, newest first."""
        del context
        tenant, states = current_principal().tenant, states_from_proto(request.states)
        query = query_from_proto(request.query)
        wanted = page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=("ListDatasets", tenant, query, *states),
        )
        page = await asyncio.to_thread(
            self._registry.list, tenant, wanted, states=states, name_part=query
        )
        datasets = [await asyncio.to_thread(self._shown, record) for record in page.items]
        return messages.ListDatasetsResponse(
            datasets=datasets, next_page_token=page.next_page_token
        )

    async def WatchDataset(  # noqa: N802
        self, request: messages.WatchDatasetRequest, context: Context
    ) -> AsyncIterator[messages.WatchDatasetResponse]:
        """Send the dataset now, at each change, and at last in READY or FAILED."""
        del context
        tenant, dataset = current_principal().tenant, dataset_id(request.name)
        sent: dataset_pb2.Dataset | None = None
        while True:
            message = await asyncio.to_thread(self._read, tenant, dataset)
            if message != sent:
                sent = message
                yield messages.WatchDatasetResponse(dataset=message)
            if message.state in {
                dataset_pb2.Dataset.STATE_READY,
                dataset_pb2.Dataset.STATE_FAILED,
            }:
                return
            await asyncio.sleep(WATCH_SECONDS)

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
        rows = _row_count(request.row_count)
        tenant, dataset = current_principal().tenant, dataset_id(request.name)
        record = await asyncio.to_thread(self._registry.get, tenant, dataset)
        require(record, State.READY)
        files = await asyncio.to_thread(at_hand, record.splits, self._cache)
        splits = await self._looks.run(partial(preview, files, rows=rows))
        return messages.PreviewDatasetResponse(splits=[preview_to_proto(split) for split in splits])

    async def DiffDatasets(  # noqa: N802
        self, request: messages.DiffDatasetsRequest, context: Context
    ) -> messages.DiffDatasetsResponse:
        """Compare two datasets."""
        del context
        rows, tenant = _row_count(request.row_count), current_principal().tenant
        names = {"base": request.base, "other": request.other}
        ids = [dataset_id(name, field=field) for field, name in names.items()]
        base, other = [await asyncio.to_thread(self._registry.get, tenant, id_) for id_ in ids]
        for record in (base, other):
            require(record, State.READY)
        with self._checking.taken(tenant), on_scratch():
            found = await run_stoppable(partial(self._differences.between, base, other, rows))
        return difference_to_proto(found)

    async def DownloadDataset(  # type: ignore[override]  # noqa: N802  # writes, for a time limit
        self, request: messages.DownloadDatasetRequest, context: Context
    ) -> None:
        """Send what a dataset holds, as long as the caller takes it."""
        tenant, dataset = current_principal().tenant, dataset_id(request.name)
        wanted = wanted_from_proto(request)
        record = await asyncio.to_thread(self._registry.get, tenant, dataset)
        responses = download_messages(self._downloads, self._checking, record, wanted)
        async with aclosing(responses):
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
        tenant, dataset = current_principal().tenant, dataset_id(request.parent, field="parent")
        codes = codes_from_proto(request.codes)
        wanted = page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=(
                "ListFindings",
                tenant,
                dataset,
                str(int(request.min_severity)),
                *sorted(codes),
            ),
        )
        record = await asyncio.to_thread(self._registry.get, tenant, dataset)
        require(record, State.READY, State.FAILED)
        counts = record.report.findings if record.report else ()
        response = messages.ListFindingsResponse(counts=[count_to_proto(count) for count in counts])
        if record.findings is not None:
            path = await asyncio.to_thread(self._cache.path, record.findings)
            page = await self._looks.run(
                partial(
                    list_findings,
                    path,
                    request=wanted,
                    codes=codes,
                    min_severity=int(request.min_severity),
                )
            )
            response.findings.extend(finding_to_proto(found) for found in page.items)
            response.next_page_token = page.next_page_token
        return response

    def _read(self, tenant: str, dataset: str) -> dataset_pb2.Dataset:
        return self._shown(self._registry.get(tenant, dataset))

    def _shown(self, record: DatasetRecord) -> dataset_pb2.Dataset:
        """Return a dataset with what is stored of its files while it is uploaded to."""
        if record.state is not State.UPLOADING:
            return dataset_to_proto(record)
        return dataset_to_proto(record, self._uploads.sizes(record.tenant, record.id))


def _row_count(asked: int) -> int:
    """Return the rows to show of each kind.

    Raises:
        InvalidArgument: Where they are too many.
    """
    rows = asked or _DEFAULT_ROWS
    if not 0 < rows <= MAX_ROWS:
        raise InvalidArgument(
            FieldViolation(field="row_count", description=f"{rows} is not 1 to {MAX_ROWS}.")
        )
    return rows
