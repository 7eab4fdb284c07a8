"""Reading of datasets: one, many, their rows and findings, what changed and what is stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import cached_property

from isogloss import dataset_convert as convert
from isogloss.api.reporter import final
from isogloss.api.resources import name_of
from isogloss.api.streams import watched
from isogloss.dataset_report import Finding, Severity
from isogloss.datasets import (
    Dataset,
    DatasetDiff,
    DatasetState,
    DatasetUsage,
    SplitPreview,
)
from isogloss.errors import DatasetRefused
from isogloss.transport import Transport
from isogloss.v1 import dataset_service_pb2 as pb
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub

PAGE_SIZE = 200
"""Resources that one call lists; the iterators ask for the next page by themselves."""


class DatasetReading:
    """The methods that read."""

    def __init__(self, transport: Transport) -> None:
        """Take what reaches the service."""
        self._transport = transport

    @cached_property
    def _stub(self) -> DatasetServiceStub:
        return DatasetServiceStub(self._transport.channel("ingest"))

    async def get(self, dataset: str | Dataset, *, timeout: float | None = None) -> Dataset:
        """Read one dataset."""
        request = pb.GetDatasetRequest(name=name_of(dataset))
        return convert.dataset(await self._transport.unary(self._stub.GetDataset, request, timeout))

    async def list(
        self,
        *,
        states: Sequence[DatasetState | str] = (),
        query: str = "",
        timeout: float | None = None,
    ) -> AsyncIterator[Dataset]:
        """Give datasets, newest first.

        Args:
            states: Only those in one of these states. Empty: all.
            query: Only those whose display name holds this, whatever the case. Empty: all.
            timeout: Seconds for each page.
        """
        request = pb.ListDatasetsRequest(
            page_size=PAGE_SIZE, states=convert.states_to_proto(states), query=query
        )
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
            lambda reply: final(convert.dataset(reply.dataset)),
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
            codes: Only findings with one of these codes; one that is unknown is refused. Empty:
                all.
            min_severity: Only findings of at least this severity.
            timeout: Seconds for each page.
        """
        request = pb.ListFindingsRequest(
            parent=name_of(dataset),
            page_size=PAGE_SIZE,
            codes=codes,
            min_severity=convert.severity_to_proto(min_severity),
        )
        while True:
            page = await self._transport.unary(self._stub.ListFindings, request, timeout)
            for message in page.findings:
                yield convert.finding(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def diff(
        self,
        base: str | Dataset,
        other: str | Dataset,
        *,
        rows: int = 10,
        timeout: float | None = None,
    ) -> DatasetDiff:
        """Compare two READY datasets by text.

        Args:
            base: The dataset before.
            other: The dataset after.
            rows: Rows of each kind to show, 1 to 100.
            timeout: Seconds.
        """
        request = pb.DiffDatasetsRequest(base=name_of(base), other=name_of(other), row_count=rows)
        return convert.diff(await self._transport.unary(self._stub.DiffDatasets, request, timeout))

    async def usage(self, *, timeout: float | None = None) -> DatasetUsage:
        """Tell what the caller's tenant stores and may store."""
        request = pb.GetUsageRequest()
        return convert.usage(await self._transport.unary(self._stub.GetUsage, request, timeout))


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
