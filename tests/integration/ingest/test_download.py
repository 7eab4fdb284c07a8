"""DownloadDataset: rows, findings and uploaded files, as they are or in another format."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import grpc
import pytest

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import FILE_FORMAT_CSV, FILE_FORMAT_JSONL, Dataset
from isogloss.v1.split_pb2 import SPLIT_TEST, SPLIT_TRAIN, SPLIT_VALIDATION, Split
from services.common.storage import open_store
from services.ingest.settings import IngestSettings
from tests.integration.ingest.calls import create, details, download, upload
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

Request = messages.DownloadDatasetRequest

TESTED = (("Never seen", "1"), ("Nor this", "0"))
QUOTED = ('With a "quote", a comma\nand a line', "0")


def quoted(rows: tuple[tuple[str, str], ...]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()


async def test_rows_come_as_they_are_stored(stub: DatasetServiceAsyncStub, tmp_path: Path) -> None:
    dataset = await upload(stub, {SPLIT_TRAIN: as_csv()})
    path = tmp_path / "rows.parquet"

    found: dict[str, tuple[Split.ValueType, tuple[str, ...], int]] = {}
    for split in (SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST):
        path.write_bytes(await download(stub, dataset.name, split=split))
        rows = duckdb.read_parquet(str(path)).project("text, labels, line").fetchall()
        found |= {text: (split, tuple(labels), line) for text, labels, line in rows}

    assert {(text, *labels) for text, (_, labels, _) in found.items()} == set(ROWS)
    assert [found[text][2] for text, _ in ROWS] == list(range(1, len(ROWS) + 1))
    sizes = {size.split: size.row_count for size in dataset.report.splits}
    assert sum(split == SPLIT_TEST for split, _, _ in found.values()) == sizes[SPLIT_TEST]


async def test_rows_as_csv_can_be_uploaded_again(stub: DatasetServiceAsyncStub) -> None:
    held_out = (("Fresh and sweet", "0"), ("=1+1", "1"))
    first = {
        SPLIT_TRAIN: quoted((*ROWS, QUOTED)),
        SPLIT_VALIDATION: quoted(held_out),
        SPLIT_TEST: quoted(TESTED),
    }
    dataset = await upload(stub, first)
    assert dataset.state == Dataset.STATE_READY

    files = {
        split: await download(stub, dataset.name, split=split, format=FILE_FORMAT_CSV)
        for split in first
    }

    rows = list(csv.reader(io.StringIO(files[SPLIT_VALIDATION].decode())))
    assert rows == [["text", "labels"], *map(list, held_out)]
    again = await upload(stub, files)
    diff = await stub.DiffDatasets(
        messages.DiffDatasetsRequest(base=dataset.name, other=again.name)
    )
    assert diff.unchanged_count == len(ROWS) + 1 + len(held_out) + len(TESTED)
    assert diff.added_count + diff.removed_count + diff.relabelled_count + diff.moved_count == 0


async def test_rows_as_json_lines_hold_one_label_each(stub: DatasetServiceAsyncStub) -> None:
    dataset = await upload(stub, {SPLIT_TRAIN: as_csv(), SPLIT_TEST: as_csv(TESTED)})

    content = await download(stub, dataset.name, split=SPLIT_TEST, format=FILE_FORMAT_JSONL)

    assert [json.loads(line) for line in content.splitlines()] == [
        {"text": text, "labels": label} for text, label in TESTED
    ]


async def test_findings_can_be_had_of_a_refused_dataset(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    dataset = await upload(stub, {SPLIT_TRAIN: as_csv((*ROWS[:20], ROWS[0]))})
    assert dataset.state == Dataset.STATE_FAILED
    wanted = Request.CONTENT_FINDINGS

    lines = (
        await download(stub, dataset.name, content=wanted, format=FILE_FORMAT_JSONL)
    ).splitlines()
    table = await download(stub, dataset.name, content=wanted, format=FILE_FORMAT_CSV)
    stored = await download(stub, dataset.name, content=wanted)

    listed = await stub.ListFindings(messages.ListFindingsRequest(parent=dataset.name))
    told = [(found.code, found.line, found.message) for found in listed.findings]
    found = [json.loads(line) for line in lines]
    assert [(each["code"], each["line"], each["message"]) for each in found] == told
    by_code = {each["code"]: each["severity"] for each in found}
    assert by_code["duplicate"] == "row_dropped"
    assert by_code["too_few_examples"] == "error"
    assert len(list(csv.DictReader(io.StringIO(table.decode())))) == len(told)
    assert stored[:4] == b"PAR1"
    assert not list((settings.data_directory / "ingest" / "scratch").glob("*/download-*"))


async def test_uploaded_files_are_kept_where_that_was_asked_for(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    # More than one part of 64 KiB.
    content = as_csv() + b"\n" * 150_000
    held_out = as_csv(TESTED)

    dataset = await upload(stub, {SPLIT_TRAIN: content, SPLIT_TEST: held_out}, keep_raw=True)

    assert dataset.state == Dataset.STATE_READY
    raw = Request.CONTENT_RAW
    assert await download(stub, dataset.name, content=raw, split=SPLIT_TRAIN) == content
    assert await download(stub, dataset.name, content=raw, split=SPLIT_TEST) == held_out
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await download(stub, dataset.name, content=raw, split=SPLIT_VALIDATION)
    assert "has no validation file" in str(raised.value.details())
    usage = await stub.GetUsage(messages.GetUsageRequest())
    store = open_store(settings.store_url)
    stored = [info for info in store.list("default/") if not info.key.endswith("dataset.json")]
    assert len([info for info in stored if "/raw/" in info.key]) > 2
    assert usage.stored_bytes == sum(info.size for info in stored)


async def test_a_changed_part_is_data_loss(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    content = as_csv()
    dataset = await upload(stub, {SPLIT_TRAIN: content}, keep_raw=True)
    store = open_store(settings.store_url)
    (part,) = store.list(f"default/{dataset.name}/raw/")
    store.put(part.key, content[:-2] + b"9\n")

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await download(stub, dataset.name, content=Request.CONTENT_RAW, split=SPLIT_TRAIN)

    assert raised.value.code() is grpc.StatusCode.DATA_LOSS


async def test_what_cannot_be_sent_is_said(stub: DatasetServiceAsyncStub) -> None:
    ready = await upload(stub, {SPLIT_TRAIN: as_csv()})
    empty = await create(stub)
    raw = Request.CONTENT_RAW
    invalid, not_now = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
    for wanted, code, fields in (
        (Request(name=ready.name), invalid, ["split"]),
        (_unknown(ready.name), invalid, ["content", "format"]),
        (
            Request(name=ready.name, content=Request.CONTENT_FINDINGS, split=SPLIT_TEST),
            invalid,
            ["split"],
        ),
        (
            Request(name=ready.name, content=raw, split=SPLIT_TRAIN, format=FILE_FORMAT_CSV),
            invalid,
            ["format"],
        ),
        (Request(name=ready.name, content=raw, split=SPLIT_TRAIN), not_now, []),
        (Request(name=empty.name, split=SPLIT_TRAIN), not_now, []),
        (Request(name=empty.name, content=Request.CONTENT_FINDINGS), not_now, []),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await anext(aiter(stub.DownloadDataset(wanted)))
        assert raised.value.code() is code
        assert details(raised.value)[2] == fields


async def test_a_download_that_is_broken_off_leaves_nothing(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    # Blanks are no part of a text, but of a file: 3 MB of it.
    content = as_csv(tuple((text + " " * 9000, label) for text, label in ROWS))
    dataset = await upload(stub, {SPLIT_TRAIN: content}, keep_raw=True)

    call = stub.DownloadDataset(
        Request(name=dataset.name, content=Request.CONTENT_RAW, split=SPLIT_TRAIN)
    )
    first = await anext(aiter(call))
    call.cancel()

    assert first.size_bytes == len(content)
    # The slot, the part and the thread are free: the next one gets everything.
    whole = await download(stub, dataset.name, content=Request.CONTENT_RAW, split=SPLIT_TRAIN)
    assert hashlib.sha256(whole).digest() == hashlib.sha256(content).digest()
    assert not list((settings.data_directory / "ingest" / "scratch").glob("*/download-*"))


def _unknown(name: str) -> Request:
    """Return what a caller of a later release may send."""
    content, format_ = 9, 9
    return Request.FromString(
        Request(name=name, split=SPLIT_TEST).SerializeToString()
        + bytes((2 << 3, content, 4 << 3, format_))
    )
