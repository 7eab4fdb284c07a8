"""Rows of several labels in other formats, and whatever columns a dataset carries along."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from services.common.errors import InvalidArgument
from services.common.manifests import fetch, upload
from services.common.storage import ObjectStore, open_store
from services.ingest.cancellation import Cancellation
from services.ingest.convert.datasets import file_from_proto, file_to_proto
from services.ingest.dataset import DatasetOptions, Format, Report, Split, State
from services.ingest.published.artefacts import ArtefactCache
from services.ingest.published.download import Content, Downloads, Wanted
from services.ingest.record import DatasetRecord, StoredFile, StoredSplit
from services.ingest.workbench import EngineOptions

ROWS = """
SELECT * FROM (VALUES
  ('Two, of them', ['a', 'b'], 1::BIGINT, 2::BIGINT, NULL::BIGINT, 'x'),
  ('None', []::VARCHAR[], 2, 3, NULL, NULL)
) AS rows(text, labels, row, line, "group", "the channel")
"""


class Desk:
    """A dataset of several labels in a directory store, and its downloads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store: ObjectStore = open_store(str(folder / "store"))
        path = folder / "rows.parquet"
        with duckdb.connect() as connection:
            connection.sql(ROWS).write_parquet(str(path))
        file = file_from_proto(upload(self._store, "rows", path))
        now = datetime.now(UTC)
        self.record = DatasetRecord(
            tenant="default",
            id="tone-abcdef",
            display_name="Tone",
            options=DatasetOptions(),
            state=State.READY,
            create_time=now,
            update_time=now,
            report=Report(multi_label=True),
            splits=(self.split("a", "b", file=file),),
        )
        self._downloads = Downloads(
            store=self._store,
            cache=ArtefactCache(folder / "cache", fetch=self._fetch, max_bytes=1 << 20),
            scratch=folder / "scratch",
            engine=EngineOptions(threads=1),
        )

    def split(self, *labels: str, file: StoredFile) -> StoredSplit:
        counts = tuple((label, 1) for label in labels)
        return StoredSplit(split=Split.TRAIN, file=file, row_count=2, labels=counts)

    def converted(self, record: DatasetRecord, format_: Format) -> str:
        wanted = Wanted(content=Content.ROWS, split=Split.TRAIN, format=format_)
        with self._downloads.directory() as directory:
            download = self._downloads.converted(record, wanted, Path(directory), Cancellation())
            content = b"".join(download.chunks)
        assert len(content) == download.size_bytes
        assert not list((self._folder / "scratch").iterdir())
        return content.decode()

    def _fetch(self, file: StoredFile, path: Path) -> None:
        fetch(self._store, file_to_proto(file), path)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_several_labels_are_a_list_in_json_lines(desk: Desk) -> None:
    lines = desk.converted(desk.record, Format.JSONL).splitlines()

    assert [json.loads(line) for line in lines] == [
        {"text": "Two, of them", "labels": ["a", "b"], "the channel": "x"},
        {"text": "None", "labels": [], "the channel": None},
    ]


@pytest.mark.parametrize(("separator", "between"), [("", "|"), ("; ", "; ")])
def test_several_labels_share_a_cell_in_csv(desk: Desk, separator: str, between: str) -> None:
    record = replace(desk.record, options=DatasetOptions(label_separator=separator))

    content = desk.converted(record, Format.CSV)

    assert content == f'text,labels,the channel\n"Two, of them",a{between}b,x\nNone,"",\n'


def test_labels_that_a_cell_could_not_tell_apart_are_refused(desk: Desk) -> None:
    (split,) = desk.record.splits
    record = replace(desk.record, splits=(desk.split("a", "b|c", file=split.file),))

    with pytest.raises(InvalidArgument) as raised:
        desk.converted(record, Format.CSV)

    assert "'b|c'" in str(raised.value)
    assert "FILE_FORMAT_JSONL" in str(raised.value)
    assert desk.converted(record, Format.JSONL)


def test_only_rows_and_findings_are_converted() -> None:
    wanted = Wanted(content=Content.ROWS, split=Split.TRAIN, format=Format.CSV)
    assert wanted.is_converted
    assert not replace(wanted, format=Format.PARQUET).is_converted
    assert not replace(wanted, content=Content.RAW).is_converted
