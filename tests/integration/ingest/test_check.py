"""CheckDataset: the whole report on files that become no dataset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import DatasetOptions
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from isogloss.v1.finding_pb2 import Finding
from isogloss.v1.split_pb2 import SPLIT_TEST, SPLIT_TRAIN, SPLIT_VALIDATION
from services.common.server import running_server
from services.common.storage import open_store
from services.ingest.__main__ import build
from services.ingest.settings import IngestSettings
from tests.integration.ingest.calls import check, details, until, upload
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

Requests = list[messages.CheckDatasetRequest]


def scratch_of(settings: IngestSettings) -> list[Path]:
    """Return what lies in the scratch directory of the one process."""
    return list((settings.data_directory / "ingest" / "scratch").glob("*/*"))


async def test_a_check_tells_what_a_dataset_would_be_and_stores_nothing(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    files = {SPLIT_TRAIN: as_csv(), SPLIT_TEST: as_csv(ROWS[:3])}

    checked = await check(stub, files)

    assert not list(open_store(settings.store_url).list(""))
    assert not (await stub.ListDatasets(messages.ListDatasetsRequest())).datasets
    assert not scratch_of(settings)
    dataset = await upload(stub, files)
    assert checked.content_hash == dataset.content_hash
    assert checked.report == dataset.report
    assert not checked.errors
    preview = await stub.PreviewDataset(messages.PreviewDatasetRequest(name=dataset.name))
    assert list(checked.splits) == list(preview.splits)
    listed = await stub.ListFindings(
        messages.ListFindingsRequest(parent=dataset.name, page_size=1000)
    )
    assert list(checked.findings) == list(listed.findings)


async def test_files_that_cannot_be_a_dataset_are_no_error_of_the_call(
    stub: DatasetServiceAsyncStub,
) -> None:
    checked = await check(stub, {SPLIT_TRAIN: as_csv(ROWS[:20])})
    empty = await check(stub, {SPLIT_TRAIN: b""})

    assert [error.code for error in checked.errors] == ["too_few_examples"]
    assert [file.row_count for file in checked.report.files] == [20]
    assert checked.errors[0].severity == Finding.SEVERITY_ERROR
    assert [error.code for error in empty.errors] == ["empty_file"]


async def test_a_check_reads_by_its_options(stub: DatasetServiceAsyncStub) -> None:
    content = as_csv().replace(b", ", b";")

    checked = await check(stub, {SPLIT_TRAIN: content}, profile="small", delimiter=";")

    assert [file.delimiter for file in checked.report.files] == [";"]
    assert not checked.errors


async def test_an_answer_shows_the_first_thousand_findings_and_counts_all(
    stub: DatasetServiceAsyncStub,
) -> None:
    content = as_csv((*ROWS, *ROWS * 4))

    checked = await check(stub, {SPLIT_TRAIN: content}, near_duplicates=1)

    counts = {found.code: found.count for found in checked.report.findings}
    assert counts["duplicate"] == 4 * len(ROWS)
    assert len(checked.findings) == 1000


@pytest.mark.parametrize(
    ("requests", "fields"),
    [
        ([], ["split"]),
        ([messages.CheckDatasetRequest(options=DatasetOptions())], ["split"]),
        ([messages.CheckDatasetRequest(data=b"x")], ["split"]),
        ([messages.CheckDatasetRequest(split=SPLIT_TEST, data=b"x")], ["split"]),
        (
            [messages.CheckDatasetRequest(split=SPLIT_TRAIN, options=DatasetOptions())] * 2,
            ["options"],
        ),
        (
            [
                messages.CheckDatasetRequest(split=split, data=b"x")
                for split in (SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TRAIN)
            ],
            ["split"],
        ),
        (
            [messages.CheckDatasetRequest(options=DatasetOptions(profile="huge", delimiter="x"))],
            ["options.delimiter", "options.profile"],
        ),
        ([messages.CheckDatasetRequest(split=SPLIT_TRAIN, data=bytes((1 << 20) + 1))], ["data"]),
    ],
)
async def test_messages_that_do_not_fit_are_refused(
    stub: DatasetServiceAsyncStub, settings: IngestSettings, requests: Requests, fields: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.CheckDataset(iter(requests))

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(raised.value)[2] == fields
    assert not scratch_of(settings)


async def test_files_over_the_limits_are_refused(settings: IngestSettings) -> None:
    small = settings.model_copy(update={"max_file_bytes": 1000, "max_dataset_bytes": 1500})
    async with (
        running_server(build(small)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = DatasetServiceStub(channel)
        for files, words in (
            ({SPLIT_TRAIN: b"x" * 1001}, "The train file has more than 1000 bytes"),
            ({SPLIT_TRAIN: b"x" * 900, SPLIT_TEST: b"x" * 900}, "together have more than 1500"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await check(stub, files)
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert details(raised.value)[0] == "LIMIT_EXCEEDED"
            assert words in str(raised.value.details())


async def test_as_many_checks_run_as_are_allowed_and_one_that_ends_makes_room(
    settings: IngestSettings,
) -> None:
    one = settings.model_copy(update={"concurrent_checks": 1})
    began = asyncio.Event()

    async def endless() -> AsyncIterator[messages.CheckDatasetRequest]:
        yield messages.CheckDatasetRequest(split=SPLIT_TRAIN, data=as_csv())
        # Whoever asks for more has sent the first message.
        began.set()
        await asyncio.Event().wait()

    async with (
        running_server(build(one)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = DatasetServiceStub(channel)
        first = stub.CheckDataset(endless())
        await began.wait()
        await until(lambda: bool(scratch_of(settings)))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await check(stub, {SPLIT_TRAIN: as_csv()})
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details(raised.value)[0] == "OVERLOADED"

        first.cancel()
        await until(lambda: not scratch_of(settings))

        assert not (await check(stub, {SPLIT_TRAIN: as_csv()})).errors


async def test_a_check_ends_with_the_time_of_its_caller(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    async def slow() -> AsyncIterator[messages.CheckDatasetRequest]:
        yield messages.CheckDatasetRequest(split=SPLIT_TRAIN, data=as_csv())
        await asyncio.Event().wait()

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.CheckDataset(slow(), timeout=0.5)

    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: not scratch_of(settings))
