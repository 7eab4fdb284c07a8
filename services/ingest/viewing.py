"""Answers the calls that look at datasets and change nothing.

Knows messages, and who asks; the domain is called in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

from isogloss.v1 import dataset_pb2
from isogloss.v1 import dataset_service_pb2 as messages
from services.common.errors import FieldViolation, InvalidArgument
from services.common.identity import current_principal
from services.common.pagination import page_request
from services.common.slots import Slots
from services.ingest.calls import Turns, dataset_id, on_scratch, run_stoppable
from services.ingest.convert.datasets import dataset_to_proto, finding_to_proto
from services.ingest.convert.report import count_to_proto
from services.ingest.convert.requests import (
    codes_from_proto,
    query_from_proto,
    states_from_proto,
    wanted_from_proto,
)
from services.ingest.convert.responses import difference_to_proto, preview_to_proto
from services.ingest.creation import require
from services.ingest.dataset import State
from services.ingest.published.artefacts import ArtefactCache
from services.ingest.published.diff import Differences
from services.ingest.published.download import Downloads
from services.ingest.published.findings import list_findings
from services.ingest.published.preview import MAX_ROWS, at_hand, preview
from services.ingest.record import DatasetRecord
from services.ingest.registry import Registry
from services.ingest.streams import download_messages
from services.ingest.uploading.uploads import Uploads

WATCH_SECONDS = 0.3
"""How often a watched dataset is looked at: often enough for an eye."""

_DEFAULT_ROWS = 10

_LOOKS = 8
"""Previews and pages of findings that are read at the same time: each has a DuckDB of one thread,
for some milliseconds."""


class Viewer:
    """Datasets as their tenant sees them."""

    def __init__(
        self,
        *,
        registry: Registry,
        uploads: Uploads,
        cache: ArtefactCache,
        downloads: Downloads,
        differences: Differences,
        slots: Slots,
    ) -> None:
        """Keep the parts.

        Args:
            registry: The datasets that there are.
            uploads: Bytes on their way to them.
            cache: Their published files.
            downloads: What they hold, as files.
            differences: Compares them.
            slots: One is taken by whoever needs a DuckDB for longer.
        """
        self._registry = registry
        self._uploads = uploads
        self._cache = cache
        self._downloads = downloads
        self._differences = differences
        self._slots = slots
        self._looks = Turns(_LOOKS)

    async def shown(self, record: DatasetRecord) -> dataset_pb2.Dataset:
        """Return a dataset with what is stored of its files while it is uploaded to."""
        return await asyncio.to_thread(self._shown, record)

    async def get(self, request: messages.GetDatasetRequest) -> dataset_pb2.Dataset:
        """Return one dataset."""
        dataset = dataset_id(request.name)
        return await asyncio.to_thread(self._read, current_principal().tenant, dataset)

    async def list(self, request: messages.ListDatasetsRequest) -> messages.ListDatasetsResponse:
        """Return one page of datasets, newest first."""
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

    async def watch(
        self, request: messages.WatchDatasetRequest
    ) -> AsyncGenerator[messages.WatchDatasetResponse]:
        """Send the dataset now, at each change, and at last in READY or FAILED."""
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

    async def preview(
        self, request: messages.PreviewDatasetRequest
    ) -> messages.PreviewDatasetResponse:
        """Show the first rows of each split."""
        rows = _row_count(request.row_count)
        tenant, dataset = current_principal().tenant, dataset_id(request.name)
        record = await asyncio.to_thread(self._registry.get, tenant, dataset)
        require(record, State.READY)
        files = await asyncio.to_thread(at_hand, record.splits, self._cache)
        splits = await self._looks.run(partial(preview, files, rows=rows))
        return messages.PreviewDatasetResponse(splits=[preview_to_proto(split) for split in splits])

    async def diff(self, request: messages.DiffDatasetsRequest) -> messages.DiffDatasetsResponse:
        """Compare two datasets."""
        rows, tenant = _row_count(request.row_count), current_principal().tenant
        names = {"base": request.base, "other": request.other}
        ids = [dataset_id(name, field=field) for field, name in names.items()]
        base, other = [await asyncio.to_thread(self._registry.get, tenant, id_) for id_ in ids]
        for record in (base, other):
            require(record, State.READY)
        with self._slots.taken(tenant), on_scratch():
            found = await run_stoppable(partial(self._differences.between, base, other, rows))
        return difference_to_proto(found)

    async def findings(
        self, request: messages.ListFindingsRequest
    ) -> messages.ListFindingsResponse:
        """Return one page of findings, by split and line."""
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

    async def download(
        self, request: messages.DownloadDatasetRequest
    ) -> AsyncGenerator[messages.DownloadDatasetResponse]:
        """Return the messages of what a dataset holds, which are made as they are taken."""
        tenant, dataset = current_principal().tenant, dataset_id(request.name)
        wanted = wanted_from_proto(request)
        record = await asyncio.to_thread(self._registry.get, tenant, dataset)
        return download_messages(self._downloads, self._slots, record, wanted)

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
