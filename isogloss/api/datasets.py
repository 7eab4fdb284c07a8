"""The methods of the dataset service."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal, Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from isogloss import dataset_convert as convert
from isogloss.api.dataset_downloads import DatasetDownloads
from isogloss.api.filling import finalize, ready, send_all
from isogloss.api.reporter import Progress, Reporter
from isogloss.api.resources import name_of
from isogloss.api.sources import Rows, measured, refuse_empty, sized
from isogloss.api.streams import Outgoing, repeated
from isogloss.api.upload import check_messages
from isogloss.dataset_options import DatasetOptions, OptionFields
from isogloss.dataset_report import Split
from isogloss.datasets import CheckResult, Dataset, DatasetState
from isogloss.errors import FailedPrecondition, IsoglossError
from isogloss.transport import Facade, blocking, blocking_stream
from isogloss.v1 import dataset_pb2
from isogloss.v1 import dataset_service_pb2 as pb
from isogloss.wire import timestamp

_NO_DIRECT_UPLOADS = "STORE_UNSUITABLE"

Expiry = datetime | timedelta


class AsyncDatasets(DatasetDownloads):
    """Datasets: check, upload, read, compare, download, delete.

    Every method takes `timeout`, in seconds; None is the client's default, and no limit for
    what uploads, downloads, watches or waits. `options` are the fields of `DatasetOptions`.
    """

    async def check(
        self,
        *,
        train: Rows,
        validation: Rows | None = None,
        test: Rows | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
        **options: Unpack[OptionFields],
    ) -> CheckResult:
        """Read files as an upload would, and store nothing.

        Files that cannot be a dataset are no error: `report` and `errors` say so.

        Args:
            train: As in `upload`.
            validation: As in `upload`.
            test: As in `upload`.
            timeout: Seconds for all of it. None: no limit.
            progress: Is told how far it is, possibly from another thread.
            options: How the files are to be read.
        """
        given = {Split.TRAIN: train, Split.VALIDATION: validation, Split.TEST: test}

        files = ready(self._transport, given, DatasetOptions(**options), sized)
        async with files as (sources, declared):
            report = Reporter("", sources, progress)
            wire = convert.options_to_proto(declared)

            async def call() -> pb.CheckDatasetResponse:
                messages = Outgoing(check_messages(wire, sources, report.sent))
                try:
                    return await self._transport.upload(
                        self._stub.CheckDataset, iter(messages), timeout
                    )
                except IsoglossError as error:
                    raise messages.failure or error from error

            return convert.check_result(await repeated(self._transport, call))

    async def upload(
        self,
        display_name: str,
        *,
        train: Rows,
        validation: Rows | None = None,
        test: Rows | None = None,
        resume: str | Dataset | None = None,
        direct: bool = False,
        expire_time: Expiry | None = None,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[OptionFields],
    ) -> Dataset:
        """Make a dataset of files or tables: create, send, finalize and wait for its validation.

        A connection that breaks is taken up again where it broke, and so is a server that is
        started anew or busy.

        Args:
            display_name: A name for people, 1 to 100 characters.
            train: A file with a text and a label in each row, or such rows in memory: a pandas or
                Polars data frame, an Arrow table, (text, label) pairs, mappings. In memory, a list
                is several labels.
            validation: Rows to score on while a model trains. None: cut from `train`.
            test: Rows to score the finished model on. None: cut from `train`.
            resume: A dataset whose upload was interrupted: only what is missing is sent. The
                options are the ones that it was created with.
            direct: Whether to send the bytes straight into the object store, past the service;
                refused where the store is a directory.
            expire_time: When it is deleted by itself, or after which time.
            wait: Whether to return only when the dataset is READY.
            progress: Is told how far it is, possibly from another thread.
            options: How the files are to be read, checked and split.

        Raises:
            DatasetRefused: Validation said no; `violations` and the findings say why.
            InvalidArgument: A file is empty, or a table holds what cannot be sent.
            OSError: A file cannot be read.
        """

        async def create(declared: DatasetOptions) -> Dataset:
            return await self.create(display_name, declared, expire_time=expire_time)

        given = {Split.TRAIN: train, Split.VALIDATION: validation, Split.TEST: test}
        return await self._fill(
            create, given, options, resume=resume, direct=direct, wait=wait, progress=progress
        )

    async def append(
        self,
        parent: str | Dataset,
        display_name: str,
        *,
        train: Rows | None = None,
        validation: Rows | None = None,
        test: Rows | None = None,
        resume: str | Dataset | None = None,
        direct: bool = False,
        expire_time: Expiry | None = None,
        wait: bool = True,
        progress: Progress | None = None,
        **options: Unpack[OptionFields],
    ) -> Dataset:
        """Make a dataset of the rows of a READY one and of new rows.

        Profile, cleaning, label mode and split are the parent's; the other options say how the
        new files are to be read.

        Args:
            parent: What it begins with; it stays as it is.
            display_name: A name for people, 1 to 100 characters.
            train: New rows only, as in `upload`.
            validation: New rows only.
            test: New rows only.
            resume: As in `upload`.
            direct: As in `upload`.
            expire_time: As in `upload`.
            wait: As in `upload`.
            progress: As in `upload`.
            options: How the new files are to be read.

        Raises:
            DatasetRefused: Validation said no; `violations` and the findings say why.
        """
        request_id = str(uuid.uuid4())

        async def create(declared: DatasetOptions) -> Dataset:
            request = pb.AppendDatasetRequest(
                parent_dataset=name_of(parent),
                dataset=_described(display_name, declared, expire_time),
                request_id=request_id,
            )
            return convert.dataset(
                await self._transport.unary(self._stub.AppendDataset, request, None)
            )

        given = {Split.TRAIN: train, Split.VALIDATION: validation, Split.TEST: test}
        return await self._fill(
            create, given, options, resume=resume, direct=direct, wait=wait, progress=progress
        )

    async def import_(
        self,
        display_name: str,
        *,
        train: str,
        validation: str = "",
        test: str = "",
        expire_time: Expiry | None = None,
        wait: bool = True,
        progress: Callable[[Dataset], None] | None = None,
        timeout: float | None = None,
        **options: Unpack[OptionFields],
    ) -> Dataset:
        """Make a dataset of files that lie in a bucket which the operator allowed.

        Args:
            display_name: A name for people, 1 to 100 characters.
            train: `s3://bucket/key` of a file with a text and a label in each row.
            validation: As above; empty: cut from `train`.
            test: As above; empty: cut from `train`.
            expire_time: As in `upload`.
            wait: Whether to return only when the dataset is READY.
            progress: Is told each change of the dataset.
            timeout: Seconds for the call that begins it.
            options: How the files are to be read, checked and split.

        Raises:
            DatasetRefused: Validation said no; `violations` and the findings say why.
        """
        given = {Split.TRAIN: train, Split.VALIDATION: validation, Split.TEST: test}
        request = pb.ImportDatasetRequest(
            dataset=_described(display_name, DatasetOptions(**options), expire_time),
            sources=[
                pb.ImportSource(split=convert.split_to_proto(split), uri=uri)
                for split, uri in given.items()
                if uri
            ],
            request_id=str(uuid.uuid4()),
        )
        dataset = convert.dataset(
            await self._transport.unary(self._stub.ImportDataset, request, timeout)
        )
        return await self.wait(dataset.name, progress=progress) if wait else dataset

    async def create(
        self,
        display_name: str,
        options: DatasetOptions | None = None,
        *,
        expire_time: Expiry | None = None,
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Dataset:
        """Create a dataset that files can be sent to; `upload` does this and the rest."""
        request = pb.CreateDatasetRequest(
            dataset=_described(display_name, options or DatasetOptions(), expire_time),
            request_id=str(uuid.uuid4()),
            validate_only=validate_only,
        )
        return convert.dataset(
            await self._transport.unary(self._stub.CreateDataset, request, timeout)
        )

    async def _fill(
        self,
        create: Callable[[DatasetOptions], Awaitable[Dataset]],
        given: Mapping[Split, Rows | None],
        options: OptionFields,
        *,
        resume: str | Dataset | None,
        direct: bool,
        wait: bool,
        progress: Progress | None,
    ) -> Dataset:
        files = ready(self._transport, given, DatasetOptions(**options), measured)
        async with files as (sources, declared):
            refuse_empty(sources)
            dataset = await (create(declared) if resume is None else self.get(resume))
            report = Reporter(dataset.name, sources, progress)
            try:
                if dataset.state is DatasetState.UPLOADING:
                    await send_all(
                        self._transport, self._stub, dataset, sources, report, direct=direct
                    )
            except FailedPrecondition as error:
                if resume is None and error.reason == _NO_DIRECT_UPLOADS:
                    # Refused before a byte was sent: nobody would ever fill it.
                    with suppress(IsoglossError):
                        await self.delete(dataset)
                raise
            dataset = await finalize(self._transport, self._stub, dataset.name, sources)
            return await self.wait(dataset.name, progress=report.validating) if wait else dataset

    async def update(
        self,
        dataset: str | Dataset,
        *,
        display_name: str | None = None,
        expire_time: Expiry | Literal["never"] | None = None,
        etag: str = "",
        timeout: float | None = None,
    ) -> Dataset:
        """Change what may change of a dataset; None leaves a thing as it is.

        Args:
            dataset: The dataset.
            display_name: A name for people, 1 to 100 characters.
            expire_time: When it is deleted by itself, or after which time, or `never`.
            etag: Change it only if it still has this one. Empty: in any case.
            timeout: Seconds.

        Raises:
            Aborted: It has another etag: read it again.
        """
        changes = {"display_name": display_name, "expire_time": expire_time}
        request = pb.UpdateDatasetRequest(
            dataset=dataset_pb2.Dataset(
                name=name_of(dataset),
                display_name=display_name or "",
                expire_time=None if expire_time == "never" else timestamp(expire_time),
                etag=etag,
            ),
            update_mask=FieldMask(
                paths=[path for path, change in changes.items() if change is not None]
            ),
        )
        return convert.dataset(
            await self._transport.unary(self._stub.UpdateDataset, request, timeout)
        )

    async def delete(
        self,
        dataset: str | Dataset,
        *,
        purge: bool = False,
        etag: str = "",
        timeout: float | None = None,
    ) -> None:
        """Delete a dataset and all that is stored of it; refused while models use it.

        Args:
            dataset: The dataset.
            purge: Delete it although finished models use it, and remove the texts that they keep
                copies of. The models themselves stay.
            etag: Delete it only if it still has this one. Empty: in any case.
            timeout: Seconds.
        """
        request = pb.DeleteDatasetRequest(name=name_of(dataset), purge=purge, etag=etag)
        await self._transport.unary(self._stub.DeleteDataset, request, timeout)


class Datasets(Facade[AsyncDatasets]):
    """Datasets, blocking: the methods of `AsyncDatasets`."""

    check = blocking(AsyncDatasets.check)
    upload = blocking(AsyncDatasets.upload)
    append = blocking(AsyncDatasets.append)
    import_ = blocking(AsyncDatasets.import_)
    create = blocking(AsyncDatasets.create)
    get = blocking(AsyncDatasets.get)
    list = blocking_stream(AsyncDatasets.list)
    watch = blocking_stream(AsyncDatasets.watch)
    wait = blocking(AsyncDatasets.wait)
    preview = blocking(AsyncDatasets.preview)
    findings = blocking_stream(AsyncDatasets.findings)
    diff = blocking(AsyncDatasets.diff)
    download = blocking(AsyncDatasets.download)
    download_findings = blocking(AsyncDatasets.download_findings)
    rows = blocking_stream(AsyncDatasets.rows)
    to_pandas = blocking(AsyncDatasets.to_pandas)
    to_polars = blocking(AsyncDatasets.to_polars)
    to_arrow = blocking(AsyncDatasets.to_arrow)
    update = blocking(AsyncDatasets.update)
    usage = blocking(AsyncDatasets.usage)
    delete = blocking(AsyncDatasets.delete)


def _described(
    display_name: str, options: DatasetOptions, expire_time: Expiry | None
) -> dataset_pb2.Dataset:
    return dataset_pb2.Dataset(
        display_name=display_name,
        options=convert.options_to_proto(options),
        expire_time=timestamp(expire_time),
    )
