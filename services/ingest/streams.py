"""The state of one streaming call: what came, and whether the next message fits it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import cast

from isogloss.v1 import dataset_service_pb2 as messages
from services.common.chunks import Chunks
from services.common.errors import FieldViolation, InvalidArgument, Unavailable
from services.common.slots import Slots
from services.ingest.calls import dataset_id, on_scratch, run_stoppable
from services.ingest.check import Check, Checker, CheckResult
from services.ingest.convert.datasets import split_from_proto, split_to_proto
from services.ingest.convert.options import options_from_proto
from services.ingest.dataset import Split
from services.ingest.published.download import Download, Downloads, Wanted
from services.ingest.record import DatasetRecord
from services.ingest.registry import Registry
from services.ingest.uploading.writer import UploadWriter

_MAX_DATA_BYTES = 1 << 20

_PARTS_AT_ONCE = 3
"""Parts of one upload on their way to the store: while one waits there for its disk, another is
sent. A fourth adds nothing but memory."""

MOST_PARTS_AT_ONCE = 16
"""Of all uploads: half of the threads that all calls have."""


class WriteStream:
    """One call of WriteDataset."""

    def __init__(self, registry: Registry, tenant: str, storing: asyncio.Semaphore) -> None:
        """Wait for the first message.

        Args:
            registry: Of the datasets.
            tenant: Whose call it is.
            storing: Taken by each part of all uploads while it is stored.
        """
        self._registry = registry
        self._places = storing
        self._tenant = tenant
        self._writer: UploadWriter | None = None
        self._storing: deque[asyncio.Task[int]] = deque()
        self._file: tuple[str, Split] | None = None

    async def take(self, request: messages.WriteDatasetRequest, data: bytes) -> None:
        """Take one message and its data; begin to store a part when one is full.

        The next ones come in while it is stored, up to the number that may be on their way.
        """
        _check_size(data)
        first = self._writer is None
        writer = self._writer or await self._open(request)
        if not first:
            self._check_file(request)
        offset = request.offset if request.HasField("offset") else None
        if first and offset is None and data:
            offset = 0
        if writer.add(offset, data):
            if len(self._storing) == _PARTS_AT_ONCE:
                await self._stored()
            self._storing.append(asyncio.create_task(self._store(writer)))

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
        for outcome in await asyncio.gather(*self._storing, return_exceptions=True):
            # What could not be stored for the moment is tried once more.
            if isinstance(outcome, BaseException) and not isinstance(outcome, Unavailable):
                raise outcome
        return await asyncio.to_thread(self._writer.flush)

    async def _store(self, writer: UploadWriter) -> int:
        async with self._places:
            return await asyncio.to_thread(writer.store)

    async def _stored(self) -> None:
        """Wait for the oldest part that is being stored."""
        # A call that is cancelled must not cancel the part with it.
        await asyncio.wait({self._storing[0]})
        self._storing.popleft().result()

    async def _open(self, request: messages.WriteDatasetRequest) -> UploadWriter:
        dataset = dataset_id(request.name)
        split = split_from_proto(request.split)
        self._writer = await asyncio.to_thread(self._registry.write, self._tenant, dataset, split)
        self._file = (request.name, split)
        return self._writer

    def _check_file(self, request: messages.WriteDatasetRequest) -> None:
        name, split = cast("tuple[str, Split]", self._file)
        for field, differs in (
            ("name", request.name not in {"", name}),
            ("split", request.split and request.split != split_to_proto(split)),
        ):
            if differs:
                raise InvalidArgument(
                    FieldViolation(
                        field=field,
                        description="differs from the first message: write each file in a stream "
                        "of its own.",
                    )
                )


class CheckStream:
    """One call of CheckDataset."""

    def __init__(self, checker: Checker) -> None:
        """Wait for the first message."""
        self._checker = checker
        self._check: Check | None = None

    async def take(self, request: messages.CheckDatasetRequest, data: bytes) -> None:
        """Take one message and its data."""
        _check_size(data)
        if self._check is None:
            options = options_from_proto(request.options, field="options")
            self._check = await asyncio.to_thread(self._checker.begin, options)
            if not request.split and not data:
                return
        elif request.HasField("options"):
            raise InvalidArgument(
                FieldViolation(
                    field="options", description="is for the first message only: leave it out."
                )
            )
        split = split_from_proto(request.split)
        await asyncio.to_thread(self._check.add, split, data)

    async def result(self) -> CheckResult:
        """Judge what came."""
        if self._check is None or not self._check.has(Split.TRAIN):
            raise InvalidArgument(
                FieldViolation(
                    field="split",
                    description="no training file came: send one with the split SPLIT_TRAIN.",
                )
            )
        return await run_stoppable(self._check.judge)

    async def close(self) -> None:
        """Remove what came."""
        if self._check is not None:
            await asyncio.to_thread(self._check.close)


async def download_messages(
    downloads: Downloads, slots: Slots, record: DatasetRecord, wanted: Wanted
) -> AsyncGenerator[messages.DownloadDatasetResponse]:
    """Send what is wanted of a dataset; a slot is taken where it is written anew for that."""
    async with AsyncExitStack() as stack:
        if wanted.is_converted:
            stack.enter_context(slots.taken(record.tenant))
            stack.enter_context(on_scratch())
            directory = Path(stack.enter_context(downloads.directory()))
            download = await run_stoppable(partial(downloads.converted, record, wanted, directory))
        else:
            download = downloads.stored(record, wanted)
        responses = await stack.enter_async_context(aclosing(_sent(download)))
        async for response in responses:
            yield response


async def _sent(download: Download) -> AsyncGenerator[messages.DownloadDatasetResponse]:
    """Yield message by message: none is read before the one before it was taken."""
    chunks = Chunks(download.chunks)
    # Sent even where there is no byte: the caller learns that it has everything.
    message = messages.DownloadDatasetResponse(size_bytes=download.size_bytes)
    try:
        message.data = await asyncio.to_thread(chunks.next)
        yield message
        while data := await asyncio.to_thread(chunks.next):
            yield messages.DownloadDatasetResponse(data=data)
    finally:
        await asyncio.to_thread(chunks.close)


def _check_size(data: bytes) -> None:
    if len(data) > _MAX_DATA_BYTES:
        raise InvalidArgument(
            FieldViolation(
                field="data",
                description=f"has {len(data)} bytes: send {_MAX_DATA_BYTES} at most in one "
                "message.",
            )
        )
