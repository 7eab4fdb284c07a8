from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.rpc import status_pb2

from isogloss import (
    AsyncClient,
    Cleaning,
    Client,
    DatasetState,
    DownloadProgress,
    FileFormat,
    InvalidArgument,
    Quoting,
    ResourceExhausted,
    Severity,
    Split,
    UploadProgress,
)
from isogloss import dataset_convert as convert
from isogloss.api.download import format_of
from isogloss.v1 import dataset_service_pb2 as pb
from isogloss.v1 import finding_pb2, split_pb2
from isogloss.v1.cleaning_pb2 import Cleaning as CleaningMessage
from isogloss.v1.dataset_pb2 import DatasetOptions, FileReport
from tests.integration.client.answers import refusal, retry_after
from tests.integration.client.scripted import Scripted
from tests.integration.client.scripted_datasets import DATASET, Dataset

TRAIN, TEST = split_pb2.SPLIT_TRAIN, split_pb2.SPLIT_TEST


@pytest.fixture
def train(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.write_text("text,label\nMy order was late,negative\n")
    return path


def test_a_check_sends_the_options_first_and_stores_nothing(
    client: Client, script: Scripted, train: Path, tmp_path: Path
) -> None:
    test = tmp_path / "test.csv"
    test.write_bytes(b"a,b\n")
    script.check.report.readable = True
    script.check.report.files.add(split=TRAIN, format="FILE_FORMAT_CSV", assumed=["delimiter"])
    script.check.errors.add(code="too_few_examples", severity="SEVERITY_ERROR", fix="Add rows.")
    script.check.content_hash = "abc"
    seen: list[UploadProgress] = []

    result = client.datasets.check(
        train=train, test=test, text_column="text", quoting="none", progress=seen.append
    )

    [first] = script.asked("CheckDataset")
    assert first.options.text_column == "text"
    assert first.options.quoting == DatasetOptions.QUOTING_NONE
    assert {split: bytes(data) for split, data in script.files.items()} == {
        TRAIN: train.read_bytes(),
        TEST: b"a,b\n",
    }
    assert [name for name, _ in script.calls] == ["CheckDataset"]
    assert (result.report.readable, result.report.trainable) == (True, False)
    assert result.report.files[0].format is FileFormat.CSV
    assert result.errors[0].severity is Severity.ERROR
    assert result.content_hash == "abc"
    assert [(progress.dataset, progress.phase) for progress in seen] == [
        ("", "uploading train"),
        ("", "uploading test"),
        ("", "checking"),
    ]


async def test_a_check_of_a_busy_server_is_sent_again_whole(
    async_client: AsyncClient, script: Scripted, train: Path
) -> None:
    content = train.read_bytes()  # noqa: ASYNC240 (a test may wait for its own file)
    script.refusals["CheckDataset"] = [
        refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", retry_after(0), reason="OVERLOADED"),
        refusal(grpc.StatusCode.UNAVAILABLE, "away"),
    ]

    await async_client.datasets.check(train=train)

    assert len(script.asked("CheckDataset")) == 3
    assert bytes(script.files[TRAIN]) == content


def test_a_check_of_an_empty_file_is_left_to_the_server(
    client: Client, script: Scripted, tmp_path: Path
) -> None:
    (tmp_path / "empty.csv").touch()

    client.datasets.check(train=tmp_path / "empty.csv")

    assert dict(script.files) == {TRAIN: bytearray()}


def test_a_check_of_a_file_that_is_not_there_asks_nobody(
    client: Client, script: Scripted, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        client.datasets.check(train=tmp_path / "never-was.csv")

    assert script.calls == []


@pytest.mark.parametrize(
    "refused",
    [
        refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", retry_after(0), reason="OVERLOADED"),
        refusal(grpc.StatusCode.ABORTED, "bytes were arriving", reason="STATE_CONFLICT"),
    ],
    ids=["busy", "arriving"],
)
@pytest.mark.parametrize("method", ["WriteDataset", "FinalizeDataset"])
def test_what_passes_by_itself_is_waited_for(
    client: Client,
    script: Scripted,
    train: Path,
    refused: status_pb2.Status,
    method: str,
) -> None:
    script.refusals[method] = [refused]

    assert client.datasets.upload("tone", train=train).state is DatasetState.READY
    assert len(script.asked(method)) == 2


def test_who_is_told_to_come_back_much_later_is_told_so(
    client: Client, script: Scripted, train: Path
) -> None:
    script.refusals["WriteDataset"] = [
        refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry_after(3600))
    ]

    with pytest.raises(ResourceExhausted) as refused:
        client.datasets.upload("tone", train=train)

    assert refused.value.retry_after == 3600
    assert len(script.asked("WriteDataset")) == 1


def test_a_table_is_uploaded_as_rows_of_json_with_every_option(
    client: Client, script: Scripted
) -> None:
    table = pd.DataFrame({"body": ["late"], "tags": [["bad", "rude"]], "id": [7]})

    client.datasets.upload(
        "tone",
        train=table,
        text_column="body",
        label_column="tags",
        keep_columns=["id"],
        cleaning=Cleaning(strip_html=True, urls="mask"),
        near_duplicates="drop",
        expire_time=timedelta(days=30),
    )

    [created] = script.asked("CreateDataset")
    options = created.dataset.options
    assert json.loads(script.files[TRAIN]) == {"body": "late", "tags": ["bad", "rude"], "id": 7}
    assert options.near_duplicates == DatasetOptions.NEAR_DUPLICATES_DROP
    assert options.cleaning == CleaningMessage(
        strip_html=True, urls=CleaningMessage.REPLACEMENT_MASK
    )
    assert list(options.keep_columns) == ["id"]
    left = created.dataset.expire_time.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(days=29.9) < left < timedelta(days=30)


async def test_asyncio_takes_tables_as_well(async_client: AsyncClient, script: Scripted) -> None:
    rows = [("late", "bad"), ("kind", "good")]

    await async_client.datasets.upload("tone", train=rows, test=pl.DataFrame(rows, orient="row"))

    assert script.files[TRAIN].count(b"\n") == 2
    assert json.loads(bytes(script.files[TEST]).splitlines()[0]) == {
        "column_0": "late",
        "column_1": "bad",
    }


def test_a_word_that_an_option_does_not_know_is_refused_with_those_that_it_does(
    client: Client, script: Scripted, train: Path
) -> None:
    with pytest.raises(InvalidArgument, match=r"urls: `hide` is none of `remove`, `mask`"):
        client.datasets.upload("tone", train=train, cleaning=Cleaning(urls="hide"))

    assert script.calls == []


def test_appending_names_the_parent_and_sends_new_rows_only(
    client: Client, script: Scripted, train: Path
) -> None:
    dataset = client.datasets.append("datasets/old", "new", train=train, delimiter=",")

    [request] = script.asked("AppendDataset")
    assert request.parent_dataset == "datasets/old"
    assert request.dataset.display_name == "new"
    assert len(request.request_id) == 36
    assert bytes(script.files[TRAIN]) == train.read_bytes()
    assert dataset.parent_dataset == "datasets/old"


def test_an_import_names_its_files_and_is_waited_for(client: Client, script: Scripted) -> None:
    seen: list[DatasetState] = []

    dataset = client.datasets.import_(
        "tone",
        train="s3://exports/train.csv",
        test="s3://exports/test.csv",
        encoding="cp1252",
        progress=lambda dataset: seen.append(dataset.state),
    )

    [request] = script.asked("ImportDataset")
    assert [(source.split, source.uri) for source in request.sources] == [
        (TRAIN, "s3://exports/train.csv"),
        (TEST, "s3://exports/test.csv"),
    ]
    assert request.dataset.options.encoding == "cp1252"
    assert dataset.state is DatasetState.READY
    assert seen[-1] is DatasetState.READY


def test_a_diff_has_counts_labels_and_rows(client: Client, script: Scripted) -> None:
    script.diff = pb.DiffDatasetsResponse(added_count=2, unchanged_count=9, same_content=False)
    script.diff.labels.add(label="bad", base_count=5, other_count=7)
    changed = script.diff.relabelled.add(base_labels=["bad"])
    changed.example.text, changed.example.split = "late", TRAIN

    diff = client.datasets.diff(DATASET, "datasets/other", rows=3)

    [request] = script.asked("DiffDatasets")
    assert (request.base, request.other, request.row_count) == (DATASET, "datasets/other", 3)
    assert (diff.added_count, diff.unchanged_count) == (2, 9)
    assert (diff.labels[0].base_count, diff.labels[0].other_count) == (5, 7)
    assert diff.relabelled[0].base_labels == ("bad",)
    assert diff.relabelled[0].example.split is Split.TRAIN


def test_only_what_is_given_is_updated(client: Client, script: Scripted) -> None:
    moment = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)

    client.datasets.update(DATASET, display_name="new", etag="e1")
    client.datasets.update(DATASET, expire_time=moment)
    client.datasets.update(DATASET, expire_time="never")

    named, timed, kept = script.asked("UpdateDataset")
    assert list(named.update_mask.paths) == ["display_name"]
    assert (named.dataset.display_name, named.dataset.etag) == ("new", "e1")
    assert list(timed.update_mask.paths) == ["expire_time"]
    assert timed.dataset.expire_time.ToDatetime(UTC) == moment
    assert list(kept.update_mask.paths) == ["expire_time"]
    assert not kept.dataset.HasField("expire_time")


def test_usage_and_purge_and_filters_reach_the_server(client: Client, script: Scripted) -> None:
    usage = client.datasets.usage()
    client.datasets.delete(DATASET, purge=True, etag="e1")
    list(client.datasets.list(states=["READY", DatasetState.FAILED], query="tone"))

    assert (usage.dataset_count, usage.max_stored_bytes) == (3, 10_000_000)
    [deleted] = script.asked("DeleteDataset")
    assert (deleted.purge, deleted.etag) == (True, "e1")
    listed = script.asked("ListDatasets")[0]
    assert list(listed.states) == [Dataset.STATE_READY, Dataset.STATE_FAILED]
    assert listed.query == "tone"


def test_findings_are_asked_for_by_code_and_severity(client: Client, script: Scripted) -> None:
    list(client.datasets.findings(DATASET, codes=["duplicate"], min_severity="ROW_DROPPED"))

    [request] = script.asked("ListFindings")
    assert list(request.codes) == ["duplicate"]
    assert request.min_severity == finding_pb2.Finding.SEVERITY_ROW_DROPPED


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("rows.csv", None, "FILE_FORMAT_CSV"),
        ("rows.JSONL", None, "FILE_FORMAT_JSONL"),
        ("rows.parquet", None, "FILE_FORMAT_PARQUET"),
        ("rows", None, "FILE_FORMAT_PARQUET"),
        ("rows.txt", "csv", "FILE_FORMAT_CSV"),
    ],
)
def test_rows_are_written_as_the_file_is_named(name: str, given: str | None, expected: str) -> None:
    chosen = format_of(Path(name), given)

    assert convert.format_to_proto(chosen) == expected_number(expected)


def test_a_download_is_whole_or_not_there(client: Client, script: Scripted, tmp_path: Path) -> None:
    script.download = bytes(range(256)) * 20
    seen: list[DownloadProgress] = []

    to = client.datasets.download(
        DATASET, split="test", to=tmp_path / "rows.csv", progress=seen.append
    )

    [request] = script.asked("DownloadDataset")
    assert to.read_bytes() == script.download
    assert (request.split, request.format) == (TEST, expected_number("FILE_FORMAT_CSV"))
    assert (seen[-1].received_bytes, seen[-1].total_bytes) == (5120, 5120)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def expected_number(name: str) -> int:
    values = FileReport.DESCRIPTOR.fields_by_name["format"].enum_type
    assert values is not None
    return values.values_by_name[name].number


def test_a_download_that_breaks_begins_anew(
    client: Client, script: Scripted, tmp_path: Path
) -> None:
    script.download = b"x" * 4500
    script.lose_download_after = [0, 2000]

    to = client.datasets.download(DATASET, split="train", to=tmp_path / "rows.csv")

    assert to.read_bytes() == script.download
    assert len(script.asked("DownloadDataset")) == 3


def test_a_refused_download_leaves_what_was_there(
    client: Client, script: Scripted, tmp_path: Path
) -> None:
    there = tmp_path / "rows.csv"
    there.write_text("mine")
    script.refusals["DownloadDataset"] = [refusal(grpc.StatusCode.NOT_FOUND, "no such dataset")]

    with pytest.raises(Exception, match="no such dataset"):
        client.datasets.download(DATASET, split="train", to=there)
    with pytest.raises(IsADirectoryError):
        client.datasets.download(DATASET, split="train", to=tmp_path)

    assert there.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_a_download_takes_the_place_of_files_alone(
    client: Client, script: Scripted, tmp_path: Path
) -> None:
    script.download = b"rows"
    there, link, pipe = (tmp_path / name for name in ("rows.csv", "link.csv", "pipe.csv"))
    link.symlink_to(there)
    os.mkfifo(pipe)

    client.datasets.download(DATASET, split="train", to=link)
    with pytest.raises(OSError, match="is a device or a pipe"):
        client.datasets.download(DATASET, split="train", to=pipe)
    with pytest.raises(FileNotFoundError) as missing:
        client.datasets.download(DATASET, split="train", to=tmp_path / "no" / "rows.csv")

    assert link.is_symlink()
    assert there.read_bytes() == b"rows"
    assert pipe.is_fifo()
    assert missing.value.filename == str(tmp_path / "no")


def test_raw_files_and_findings_are_asked_for_as_such(
    client: Client, script: Scripted, tmp_path: Path
) -> None:
    client.datasets.download(DATASET, split="train", to=tmp_path / "raw.csv", raw=True)
    client.datasets.download_findings(DATASET, to=tmp_path / "findings.csv")

    raw, findings = script.asked("DownloadDataset")
    assert (raw.content, raw.format) == (pb.DownloadDatasetRequest.CONTENT_RAW, 0)
    assert findings.content == pb.DownloadDatasetRequest.CONTENT_FINDINGS
    assert (findings.split, findings.format) == (0, expected_number("FILE_FORMAT_CSV"))


ROWS: list[dict[str, Any]] = [
    {"text": "late\N{LINE SEPARATOR}again", "labels": "bad", "id": "7"},
    {"text": "kind", "labels": ["good", "short"], "id": "8"},
]


def test_rows_are_examples_with_what_was_carried_along(client: Client, script: Scripted) -> None:
    script.download = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()

    first, second = client.datasets.rows(DATASET, "validation")

    assert (first.text, first.labels, first.columns) == (ROWS[0]["text"], ("bad",), {"id": "7"})
    assert second.labels == ("good", "short")
    assert second.split is Split.VALIDATION
    assert script.asked("DownloadDataset")[0].split == split_pb2.SPLIT_VALIDATION


async def test_asyncio_gives_rows_one_after_another(
    async_client: AsyncClient, script: Scripted
) -> None:
    script.download = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)

    texts = [row.text async for row in async_client.datasets.rows(DATASET, Split.TRAIN)]

    assert texts == [row["text"] for row in ROWS]


def test_rows_are_tables_of_the_callers_packages(client: Client, script: Scripted) -> None:
    stored = pa.table({"text": ["late", "kind"], "labels": [["bad"], ["good", "short"]]})
    buffer = io.BytesIO()
    pq.write_table(stored, buffer)
    script.download = buffer.getvalue()

    frame = client.datasets.to_pandas(DATASET, "train")
    polars = client.datasets.to_polars(DATASET, "train")
    arrow = client.datasets.to_arrow(DATASET, "train")

    assert arrow.equals(stored)
    assert polars.to_dicts() == stored.to_pylist()
    assert frame["text"].tolist() == ["late", "kind"]
    assert list(frame["labels"][1]) == ["good", "short"]
    formats = {request.format for request in script.asked("DownloadDataset")}
    assert formats == {expected_number("FILE_FORMAT_PARQUET")}


def test_a_report_is_read_to_its_last_field(client: Client, script: Scripted) -> None:
    report = script.check.report
    report.tokens.p50 = 12
    report.tokens.histogram.add(max_tokens=16, text_count=40)
    report.languages.add(language="en", share=0.75)
    report.overlaps.add(first=TRAIN, second=TEST, exact=3, near=1)
    report.training_time.FromSeconds(90)
    report.split.seed = 7
    report.files.add(split=TRAIN, compression="gzip", quoting=DatasetOptions.QUOTING_BACKSLASH)

    found = client.datasets.check(train=[("a", "b")]).report

    assert found.tokens is not None
    assert (found.tokens.p50, found.tokens.histogram[0].text_count) == (12, 40)
    assert found.languages == {"en": 0.75}
    assert (found.overlaps[0].second, found.overlaps[0].near) == (Split.TEST, 1)
    assert found.training_time == timedelta(seconds=90)
    assert found.split is not None
    assert (found.split.seed, found.split.test_share) == (7, None)
    assert (found.files[0].compression, found.files[0].quoting) == ("gzip", Quoting.BACKSLASH)
