"""The methods of the dataset service."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import cached_property

from isogloss import convert
from isogloss.api.resources import name_of
from isogloss.api.streams import watched
from isogloss.api.upload import Source, measure, send
from isogloss.datasets import (
    Dataset,
    DatasetOptions,
    DatasetState,
    Finding,
    Severity,
    Split,
    SplitPreview,
    UploadProgress,
)
from isogloss.errors import DatasetRefused, InvalidArgument, Violation
from isogloss.transport import Facade, Transport, blocking, blocking_stream
from isogloss.v1 import dataset_pb2, finding_pb2
from isogloss.v1 import dataset_service_pb2 as pb
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub

PAGE_SIZE = 200
"""Resources that one call lists; the iterators ask for the next page by themselves."""

CHECKED_BYTES_PER_SECOND = 10_000_000
"""What a server reads back and hashes at the least when an upload is finalised. A CPU hashes some
500 MB/s; the rest is room for a slow object store that several callers share."""

Path = str | os.PathLike[str]


class AsyncDatasets:
    """Datasets: upload, read, list, delete.

    Every method takes `timeout`, in seconds; None is the client's default, and no limit for
    what watches or waits.
    """

    def __init__(self, transport: Transport) -> None:
        """Take what reaches the service."""
        self._transport = transport

    @cached_property
    def _stub(self) -> DatasetServiceStub:
        return DatasetServiceStub(self._transport.channel("ingest"))

    async def upload(
        self,
        display_name: str,
        *,
        train: Path,
        validation: Path | None = None,
        test: Path | None = None,
        has_header: bool | None = None,
        delimiter: str = "",
        profile: str = "",
        validation_share: float | None = None,
        test_share: float | None = None,
        seed: int | None = None,
        resume: str | Dataset | None = None,
        wait: bool = True,
        progress: Callable[[UploadProgress], None] | None = None,
    ) -> Dataset:
        """Make a dataset of files: create, send, finalize and wait for its validation.

        A connection that breaks is taken up again where it broke.

        Args:
            display_name: A name for people, 1 to 100 characters.
            train: CSV file with a text and a label in each row.
            validation: File to score on while a model trains. None: cut from `train`.
            test: File to score the finished model on. None: cut from `train`.
            has_header: Whether the first row names the columns. None: detected.
            delimiter: One of `,` `;` `|` or a tab. Empty: detected.
            profile: Name of a set of minimum counts. Empty: the server's standard.
            validation_share: Share of the rows for validation, over 0 and up to 0.5.
            test_share: Share of the rows for the test, over 0 and up to 0.5.
            seed: Seed of the split.
            resume: A dataset whose upload was interrupted: only what is missing is sent. The
                options are the ones that it was created with.
            wait: Whether to return only when the dataset is READY.
            progress: Is told how far it is, possibly from another thread.

        Raises:
            DatasetRefused: Validation said no; `violations` and the findings say why.
            InvalidArgument: A file is empty.
            OSError: A file cannot be read.
        """
        given = {Split.TRAIN: train, Split.VALIDATION: validation, Split.TEST: test}
        sources = [
            await self._transport.work(measure, split, path)
            for split, path in given.items()
            if path is not None
        ]
        if empty := [source for source in sources if not source.size]:
            raise InvalidArgument(
                f"{empty[0].split}: {empty[0].path} is empty.",
                violations=[
                    Violation(field=source.split, description=f"{source.path} is empty.")
                    for source in empty
                ],
            )
        options = DatasetOptions(
            has_header=has_header,
            delimiter=delimiter,
            profile=profile,
            validation_share=validation_share,
            test_share=test_share,
            seed=seed,
        )
        dataset = (
            await self.create(display_name, options)
            if resume is None
            else await self.get(name_of(resume))
        )
        report = _Reporter(dataset.name, sources, progress)
        if dataset.state is DatasetState.UPLOADING:
            for source in sources:
                await send(
                    self._transport,
                    self._stub,
                    dataset.name,
                    source,
                    committed=dataset.uploads.get(source.split, 0),
                    sent=report.of(source),
                )
        dataset = await self._finalize(dataset.name, sources)
        return await self.wait(dataset.name, progress=report.validating) if wait else dataset

    async def create(
        self,
        display_name: str,
        options: DatasetOptions | None = None,
        *,
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Dataset:
        """Create a dataset that files can be sent to; `upload` does this and the rest."""
        request = pb.CreateDatasetRequest(
            dataset=dataset_pb2.Dataset(
                display_name=display_name,
                options=convert.options_to_proto(options or DatasetOptions()),
            ),
            request_id=str(uuid.uuid4()),
            validate_only=validate_only,
        )
        return convert.dataset(
            await self._transport.unary(self._stub.CreateDataset, request, timeout)
        )

    async def _finalize(self, name: str, sources: Sequence[Source]) -> Dataset:
        request = pb.FinalizeDatasetRequest(
            name=name,
            checksums=[
                pb.UploadChecksum(
                    split=convert.split_to_proto(source.split),
                    size_bytes=source.size,
                    sha256=source.sha256,
                )
                for source in sources
            ],
        )
        # The answer comes when all bytes were read once more.
        timeout = finalize_timeout(self._transport.timeout, sources)
        return convert.dataset(
            await self._transport.unary(self._stub.FinalizeDataset, request, timeout)
        )

    async def get(self, dataset: str | Dataset, *, timeout: float | None = None) -> Dataset:
        """Read one dataset."""
        request = pb.GetDatasetRequest(name=name_of(dataset))
        return convert.dataset(await self._transport.unary(self._stub.GetDataset, request, timeout))

    async def list(self, *, timeout: float | None = None) -> AsyncIterator[Dataset]:
        """Give all datasets, newest first."""
        request = pb.ListDatasetsRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._transport.unary(self._stub.ListDatasets, request, timeout)
            for message in page.datasets:
                yield convert.dataset(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def watch(
        self, dataset: str | Dataset, *, timeout: float | None = None
    ) -> AsyncGenerator[Dataset]:
        """Give a dataset now and at each change, until it is READY or FAILED."""
        request = pb.WatchDatasetRequest(name=name_of(dataset))
        replies = watched(
            self._transport,
            lambda: self._transport.stream(self._stub.WatchDataset, request, timeout),
            lambda reply: _final(convert.dataset(reply.dataset)),
        )
        async with aclosing(replies):
            async for reply in replies:
                yield convert.dataset(reply.dataset)

    async def wait(
        self,
        dataset: str | Dataset,
        *,
        timeout: float | None = None,
        progress: Callable[[Dataset], None] | None = None,
    ) -> Dataset:
        """Wait until a dataset is READY and return it.

        Raises:
            DatasetRefused: Validation said no; `violations` and the findings say why.
        """
        current = None
        async with aclosing(self.watch(dataset, timeout=timeout)) as updates:
            async for current in updates:
                if progress is not None:
                    progress(current)
        if current is None or current.state is not DatasetState.READY:
            raise _refusal(name_of(dataset), current)
        return current

    async def preview(
        self, dataset: str | Dataset, *, rows: int = 10, timeout: float | None = None
    ) -> tuple[SplitPreview, ...]:
        """Show the first rows of each split of a READY dataset (1 to 100), and its labels."""
        request = pb.PreviewDatasetRequest(name=name_of(dataset), row_count=rows)
        reply = await self._transport.unary(self._stub.PreviewDataset, request, timeout)
        return tuple(convert.preview(split) for split in reply.splits)

    async def findings(
        self,
        dataset: str | Dataset,
        *,
        codes: Sequence[str] = (),
        min_severity: Severity | str = Severity.UNKNOWN,
        timeout: float | None = None,
    ) -> AsyncIterator[Finding]:
        """Give what validation found, by split and line.

        Args:
            dataset: A READY or FAILED dataset.
            codes: Only findings with one of these codes. Empty: all.
            min_severity: Only findings of at least this severity.
            timeout: Seconds for each page.
        """
        severity = Severity(min_severity)
        request = pb.ListFindingsRequest(
            parent=name_of(dataset),
            page_size=PAGE_SIZE,
            codes=codes,
            min_severity=(
                finding_pb2.Finding.SEVERITY_UNSPECIFIED
                if severity is Severity.UNKNOWN
                else finding_pb2.Finding.Severity.Value(f"SEVERITY_{severity.name}")
            ),
        )
        while True:
            page = await self._transport.unary(self._stub.ListFindings, request, timeout)
            for message in page.findings:
                yield convert.finding(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def delete(self, dataset: str | Dataset, *, timeout: float | None = None) -> None:
        """Delete a dataset and all that is stored of it; refused while models use it."""
        request = pb.DeleteDatasetRequest(name=name_of(dataset))
        await self._transport.unary(self._stub.DeleteDataset, request, timeout)


class Datasets(Facade[AsyncDatasets]):
    """Datasets, blocking: the methods of `AsyncDatasets`."""

    upload = blocking(AsyncDatasets.upload)
    create = blocking(AsyncDatasets.create)
    get = blocking(AsyncDatasets.get)
    list = blocking_stream(AsyncDatasets.list)
    watch = blocking_stream(AsyncDatasets.watch)
    wait = blocking(AsyncDatasets.wait)
    preview = blocking(AsyncDatasets.preview)
    findings = blocking_stream(AsyncDatasets.findings)
    delete = blocking(AsyncDatasets.delete)


def finalize_timeout(default: float, sources: Sequence[Source]) -> float:
    """Return the seconds that finalising may take: a call's default, and more by the size."""
    return default + sum(source.size for source in sources) / CHECKED_BYTES_PER_SECOND


def _final(dataset: Dataset) -> bool:
    return dataset.state in {DatasetState.READY, DatasetState.FAILED}


def _refusal(name: str, dataset: Dataset | None) -> DatasetRefused:
    error = dataset.error if dataset is not None else None
    if error is None:
        return DatasetRefused(f"{name} was refused and the server gave no reason.")
    return DatasetRefused(
        error.message,
        code=error.code,
        reason=error.reason or "DATASET_REFUSED",
        metadata={"name": name, **error.metadata},
        violations=error.violations,
    )


class _Reporter:
    """Adds up what is sent of several files, and passes validation on."""

    def __init__(
        self,
        dataset: str,
        sources: Sequence[Source],
        progress: Callable[[UploadProgress], None] | None,
    ) -> None:
        self._dataset = dataset
        self._progress = progress
        self._sent = dict.fromkeys([source.split for source in sources], 0)
        self._total = sum(source.size for source in sources)

    def of(self, source: Source) -> Callable[[int], None]:
        """Give what is to be told of the bytes of one file."""

        def sent(count: int) -> None:
            self._sent[source.split] = count
            self._tell(f"uploading {source.split}", 0.0)

        return sent

    def validating(self, dataset: Dataset) -> None:
        """Take how far validation is."""
        found = dataset.validation_progress
        done = 1.0 if _final(dataset) else (found.fraction if found else 0.0)
        self._sent = {}
        phase = found.phase if found and not _final(dataset) else dataset.state.lower()
        self._tell(phase, done)

    def _tell(self, phase: str, validated: float) -> None:
        if self._progress is not None:
            sent = sum(self._sent.values()) if self._sent else self._total
            self._progress(
                UploadProgress(
                    dataset=self._dataset,
                    phase=phase,
                    sent_bytes=sent,
                    total_bytes=self._total,
                    validated=validated,
                )
            )
