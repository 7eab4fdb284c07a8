"""DatasetService on the wire: parse, call the domain in a thread, convert."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from google.protobuf.empty_pb2 import Empty
from grpc.aio import ServicerContext

from isogloss.v1 import dataset_pb2, dataset_service_pb2_grpc
from isogloss.v1 import dataset_service_pb2 as messages
from services.common.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    Reason,
    ResourceExhausted,
)
from services.common.identity import Role, current_principal
from services.common.names import Collection, parse
from services.common.pagination import page_request
from services.ingest import convert
from services.ingest.artefacts import ArtefactCache
from services.ingest.convert_options import options_from_proto
from services.ingest.convert_report import count_to_proto
from services.ingest.dataset import Split, State
from services.ingest.findings import list_findings
from services.ingest.preview import MAX_ROWS, preview
from services.ingest.record import DatasetRecord
from services.ingest.registry import Registry
from services.ingest.uploads import Uploads, UploadWriter

SERVICE = "isogloss.v1.DatasetService"
ROLES = {
    f"/{SERVICE}/CreateDataset": Role.WRITE,
    f"/{SERVICE}/WriteDataset": Role.WRITE,
    f"/{SERVICE}/FinalizeDataset": Role.WRITE,
    f"/{SERVICE}/CheckDataset": Role.WRITE,
    f"/{SERVICE}/GenerateUploadUrl": Role.WRITE,
    f"/{SERVICE}/ImportDataset": Role.WRITE,
    f"/{SERVICE}/AppendDataset": Role.WRITE,
    f"/{SERVICE}/UpdateDataset": Role.WRITE,
    f"/{SERVICE}/DeleteDataset": Role.WRITE,
    f"/{SERVICE}/DiffDatasets": Role.READ,
    f"/{SERVICE}/DownloadDataset": Role.READ,
    f"/{SERVICE}/GetUsage": Role.READ,
    f"/{SERVICE}/GetDataset": Role.READ,
    f"/{SERVICE}/ListDatasets": Role.READ,
    f"/{SERVICE}/WatchDataset": Role.READ,
    f"/{SERVICE}/PreviewDataset": Role.READ,
    f"/{SERVICE}/ListFindings": Role.READ,
}

WATCH_SECONDS = 0.3
"""How often a watched dataset is looked at: often enough for an eye."""

_MAX_DATA_BYTES = 1 << 20
_DEFAULT_PREVIEW_ROWS = 10
_RETRY_UPLOAD_SECONDS = 1.0

Context = ServicerContext[Any, Any]


class DatasetServicer(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Answers the calls of `DatasetService`."""

    def __init__(
        self,
        *,
        registry: Registry,
        uploads: Uploads,
        cache: ArtefactCache,
        wake: Callable[[], None],
        concurrent_uploads: int,
    ) -> None:
        """Keep the parts.

        Args:
            registry: The datasets.
            uploads: Their bytes.
            cache: Their published files.
            wake: Tells the validators that there is work.
            concurrent_uploads: Streams of WriteDataset at the same time: each holds memory.
        """
        self._registry = registry
        self._uploads = uploads
        self._cache = cache
        self._wake = wake
        self._concurrent_uploads = concurrent_uploads
        self._uploading = 0

    async def CreateDataset(  # noqa: N802  # the contract's
        self, request: messages.CreateDatasetRequest, context: Context
    ) -> dataset_pb2.Dataset:
        """Create a dataset that is ready to be written to."""
        del context
        record = await asyncio.to_thread(
            self._registry.create,
            current_principal().tenant,
            display_name=request.dataset.display_name,
            options=options_from_proto(request.dataset.options),
            request_id=request.request_id,
            validate_only=request.validate_only,
        )
        return convert.dataset_to_proto(record)

    async def WriteDataset(  # noqa: N802
        self, request_iterator: AsyncIterator[messages.WriteDatasetRequest], context: Context
    ) -> messages.WriteDatasetResponse:
        """Store bytes; whatever arrived is kept, however the stream ends."""
        del context
        if self._uploading >= self._concurrent_uploads:
            raise ResourceExhausted(
                f"{self._concurrent_uploads} uploads are in progress here, as many as are taken "
                "at once: try again in a second.",
                metadata={"limit": str(self._concurrent_uploads)},
                retry_after=_RETRY_UPLOAD_SECONDS,
            )
        stream = _WriteStream(self._registry, current_principal().tenant)
        self._uploading += 1
        try:
            async for request in request_iterator:
                await stream.take(request)
            stream.check_begun()
        finally:
            try:
                # A stream that breaks cancels this call; what it brought is stored nonetheless.
                committed = await asyncio.shield(stream.flush())
            finally:
                self._uploading -= 1
        return messages.WriteDatasetResponse(committed_size=committed)

    async def FinalizeDataset(  # noqa: N802
        self, request: messages.FinalizeDatasetRequest, context: Context
    ) -> dataset_pb2.Dataset:
        """Check the upload and start validation."""
        del context
        record = await asyncio.to_thread(
            self._registry.finalize,
            current_principal().tenant,
            _dataset_id(request.name),
            convert.declared_from_proto(request.checksums),
        )
        self._wake()
        return convert.dataset_to_proto(record)

    async def GetDataset(  # noqa: N802
        self, request: messages.GetDatasetRequest, context: Context
    ) -> dataset_pb2.Dataset:
        """Return one dataset."""
        del context
        dataset = _dataset_id(request.name)
        return await asyncio.to_thread(self._read, current_principal().tenant, dataset)

    async def ListDatasets(  # noqa: N802
        self, request: messages.ListDatasetsRequest, context: Context
    ) -> messages.ListDatasetsResponse:
        """Return one page of datasets, newest first."""
        del context
        tenant = current_principal().tenant
        wanted = page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=("ListDatasets", tenant),
        )
        page = await asyncio.to_thread(self._registry.list, tenant, wanted)
        datasets = [await asyncio.to_thread(self._shown, record) for record in page.items]
        return messages.ListDatasetsResponse(
            datasets=datasets, next_page_token=page.next_page_token
        )

    async def WatchDataset(  # noqa: N802
        self, request: messages.WatchDatasetRequest, context: Context
    ) -> AsyncIterator[messages.WatchDatasetResponse]:
        """Send the dataset now, at each change, and at last in READY or FAILED."""
        del context
        tenant, dataset = current_principal().tenant, _dataset_id(request.name)
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
        dataset = _dataset_id(request.name)
        await asyncio.to_thread(self._registry.delete, current_principal().tenant, dataset)
        return Empty()

    async def PreviewDataset(  # noqa: N802
        self, request: messages.PreviewDatasetRequest, context: Context
    ) -> messages.PreviewDatasetResponse:
        """Show the first rows of each split."""
        del context
        rows = request.row_count or _DEFAULT_PREVIEW_ROWS
        dataset = _dataset_id(request.name)
        if not 0 < rows <= MAX_ROWS:
            raise InvalidArgument(
                FieldViolation(field="row_count", description=f"{rows} is not 1 to {MAX_ROWS}.")
            )
        tenant = current_principal().tenant
        record = await asyncio.to_thread(self._registry.get, tenant, dataset)
        _require(record, State.READY)
        splits = await asyncio.to_thread(preview, record.splits, cache=self._cache, rows=rows)
        return messages.PreviewDatasetResponse(
            splits=[convert.preview_to_proto(split) for split in splits]
        )

    async def ListFindings(  # noqa: N802
        self, request: messages.ListFindingsRequest, context: Context
    ) -> messages.ListFindingsResponse:
        """Return one page of findings, by split and line."""
        del context
        tenant, dataset = current_principal().tenant, _dataset_id(request.parent, field="parent")
        wanted = page_request(
            page_size=request.page_size,
            page_token=request.page_token,
            scope=(
                "ListFindings",
                tenant,
                dataset,
                str(int(request.min_severity)),
                *sorted(request.codes),
            ),
        )
        record = await asyncio.to_thread(self._registry.get, tenant, dataset)
        _require(record, State.READY, State.FAILED)
        counts = record.report.findings if record.report else ()
        response = messages.ListFindingsResponse(counts=[count_to_proto(count) for count in counts])
        if record.findings is not None:
            path = await asyncio.to_thread(self._cache.path, record.findings)
            page = await asyncio.to_thread(
                list_findings,
                path,
                request=wanted,
                codes=list(request.codes),
                min_severity=int(request.min_severity),
            )
            response.findings.extend(convert.finding_to_proto(found) for found in page.items)
            response.next_page_token = page.next_page_token
        return response

    def _read(self, tenant: str, dataset: str) -> dataset_pb2.Dataset:
        return self._shown(self._registry.get(tenant, dataset))

    def _shown(self, record: DatasetRecord) -> dataset_pb2.Dataset:
        """Return a dataset with what is stored of its files while it is uploaded to."""
        if record.state is not State.UPLOADING:
            return convert.dataset_to_proto(record)
        return convert.dataset_to_proto(record, self._uploads.sizes(record.tenant, record.id))


class _WriteStream:
    """One call of WriteDataset."""

    def __init__(self, registry: Registry, tenant: str) -> None:
        self._registry = registry
        self._tenant = tenant
        self._writer: UploadWriter | None = None
        self._file: tuple[str, Split] | None = None

    async def take(self, request: messages.WriteDatasetRequest) -> None:
        """Take one message; store a part when one is full."""
        if len(request.data) > _MAX_DATA_BYTES:
            raise InvalidArgument(
                FieldViolation(
                    field="data",
                    description=f"has {len(request.data)} bytes: send {_MAX_DATA_BYTES} at most "
                    "in one message.",
                )
            )
        first = self._writer is None
        writer = self._writer or await self._open(request)
        if not first:
            self._check_file(request)
        offset = request.offset if request.HasField("offset") else None
        if first and offset is None and request.data:
            offset = 0
        writer.add(offset, request.data)
        if writer.is_full:
            await asyncio.to_thread(writer.flush)

    def check_begun(self) -> None:
        """Make sure that a first message came."""
        if self._writer is None:
            raise InvalidArgument(
                [
                    FieldViolation(
                        field=field, description="is required in the first message: none came."
                    )
                    for field in ("name", "split")
                ]
            )

    async def flush(self) -> int:
        """Store what is left; return the committed size."""
        if self._writer is None:
            return 0
        return await asyncio.to_thread(self._writer.flush)

    async def _open(self, request: messages.WriteDatasetRequest) -> UploadWriter:
        dataset = _dataset_id(request.name)
        split = convert.split_from_proto(request.split)
        self._writer = await asyncio.to_thread(self._registry.write, self._tenant, dataset, split)
        self._file = (request.name, split)
        return self._writer

    def _check_file(self, request: messages.WriteDatasetRequest) -> None:
        name, split = cast("tuple[str, Split]", self._file)
        for field, differs in (
            ("name", request.name not in {"", name}),
            ("split", request.split and request.split != convert.split_to_proto(split)),
        ):
            if differs:
                raise InvalidArgument(
                    FieldViolation(
                        field=field,
                        description="differs from the first message: write each file in a stream "
                        "of its own.",
                    )
                )


def _dataset_id(name: str, *, field: str = "name") -> str:
    return parse(name, Collection.DATASETS, field=field).id


def _require(record: DatasetRecord, *states: State) -> None:
    if record.state in states:
        return
    doing = {
        State.UPLOADING: "its upload was not finalised: call FinalizeDataset",
        State.VALIDATING: "it is being validated: follow it with WatchDataset",
        State.FAILED: "it was refused: ListFindings says why",
    }
    raise FailedPrecondition(
        f"{record.name} is not READY: {doing.get(record.state, record.state)}.",
        reason=Reason.DATASET_REFUSED if record.state is State.FAILED else Reason.DATASET_NOT_READY,
        metadata={"name": record.name, "state": record.state},
    )
