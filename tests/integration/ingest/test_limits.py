"""Files that are made to break the validator, and the limits that they meet."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import FILE_FORMAT_CSV, Dataset
from isogloss.v1.finding_pb2 import Finding
from isogloss.v1.split_pb2 import SPLIT_TEST, SPLIT_TRAIN
from tests.integration.ingest.calls import check, create, details, upload, write
from tests.integration.ingest.served import served, settings_on
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

WIDE = b",".join(b"column %d" % n for n in range(40)) + b"\n" + b",".join([b"x"] * 40) + b"\n"


def many_labels(count: int, *, rows: int) -> bytes:
    return b"".join(
        b"text %d of %d,label %d\n" % (row, label, label)
        for label in range(count)
        for row in range(rows)
    )


async def verdict_on(
    content: bytes,
    directory: Path,
    **settings: Any,  # noqa: ANN401  # fields of IngestSettings
) -> tuple[Dataset, dict[str, Finding]]:
    """Return what became of a training file, and its first finding of each code."""
    async with served(settings_on(None, directory, **settings)) as stub:
        dataset = await upload(stub, {SPLIT_TRAIN: content})
        page = await stub.ListFindings(
            messages.ListFindingsRequest(
                parent=dataset.name,
                codes=["line_too_long"],
            )
        )
        errors = await stub.ListFindings(
            messages.ListFindingsRequest(parent=dataset.name, min_severity=Finding.SEVERITY_ERROR)
        )
    return dataset, {finding.code: finding for finding in (*errors.findings, *page.findings)}


@pytest.mark.parametrize(
    ("content", "code", "settings"),
    [
        # 40 MB of one byte in 40 kB.
        (gzip.compress(b"x" * 40_000_000), "decompressed_size", {"max_decompressed_bytes": 10**6}),
        (as_csv() * 4, "too_many_rows", {"max_rows": 1000}),
        (WIDE, "column_count", {"max_columns": 39}),
        (many_labels(2000, rows=5), "too_many_labels", {}),
        # Each of them is rare, so that no row is left.
        (many_labels(50_000, rows=1), "too_few_examples", {}),
        (as_csv() * 200, "time_limit", {"max_validation_seconds": 0.01}),
    ],
    ids=["zip bomb", "rows", "columns", "labels", "rare labels", "time"],
)
async def test_what_is_over_a_limit_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, code: str, settings: dict[str, Any]
) -> None:
    dataset, findings = await verdict_on(content, tmp_path, **settings)

    assert dataset.state == Dataset.STATE_FAILED
    assert findings[code].severity == Finding.SEVERITY_ERROR
    assert findings[code].fix


async def test_an_endless_line_is_dropped_in_bounded_memory(tmp_path: Path) -> None:
    line = b"x" * 10_000_000
    content = as_csv() + line + b",0\n" + as_csv(ROWS[:1])

    dataset, findings = await verdict_on(
        content, tmp_path, max_record_bytes=64 << 10, upload_part_bytes=8 << 20
    )

    assert findings["line_too_long"].line == len(ROWS) + 1
    assert dataset.state == Dataset.STATE_READY
    assert sum(size.row_count for size in dataset.report.splits) == len(ROWS)


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"max_file_bytes": 1000}, "max_file_bytes"),
        ({"max_dataset_bytes": 1500}, "max_dataset_bytes"),
    ],
)
async def test_uploads_end_at_their_limits_and_keep_what_fits(
    tmp_path: Path, settings: dict[str, Any], setting: str
) -> None:
    async with served(settings_on(None, tmp_path, **settings)) as stub:
        dataset = await create(stub)
        await write(stub, dataset.name, b"x" * 1000)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await write(stub, dataset.name, b"x" * 1001, split=SPLIT_TEST)
        shown = await stub.GetDataset(messages.GetDatasetRequest(name=dataset.name))

    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(raised.value)[0] == "LIMIT_EXCEEDED"
    assert details(raised.value)[1]["setting"] == setting
    assert [upload.committed_size for upload in shown.uploads] == [1000]


async def test_a_message_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with served(settings_on(None, tmp_path)) as stub:
        dataset = await create(stub)
        request = messages.WriteDatasetRequest(
            name=dataset.name, split=SPLIT_TRAIN, data=b"x" * ((1 << 20) + 1)
        )
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.WriteDataset(iter([request]))

    assert details(raised.value)[2] == ["data"]


async def test_a_caller_who_reads_no_more_gives_its_place_back(tmp_path: Path) -> None:
    # Far more than lies on the way between two ends.
    rows = tuple((f"{text} {'and so on ' * 2500}", label) for text, label in ROWS)
    settings = settings_on(
        None,
        tmp_path,
        concurrent_checks=1,
        stream_idle_seconds=0.5,
        stream_min_bytes_per_second=1 << 20,
    )
    async with served(settings) as stub:
        dataset = await upload(stub, {SPLIT_TRAIN: as_csv(rows)})
        request = messages.DownloadDatasetRequest(
            name=dataset.name, split=SPLIT_TRAIN, format=FILE_FORMAT_CSV
        )
        stalled = stub.DownloadDataset(request)
        assert (await anext(aiter(stalled))).size_bytes > 4 << 20

        async with asyncio.timeout(20):
            while not await _has_place(stub):  # noqa: ASYNC110  # nothing tells when it has
                await asyncio.sleep(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for _ in stalled:
                pass

    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details(raised.value)[1]["setting"] == "stream_idle_seconds"


async def _has_place(stub: DatasetServiceAsyncStub) -> bool:
    try:
        await check(stub, {SPLIT_TRAIN: as_csv()})
    except grpc.aio.AioRpcError as error:
        return error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED
    return True
