"""Files that are staged while they are read: in order, with their places, and never in part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from services.common.cleaning import Cleaning
from services.ingest.checks import cleaning_rows
from services.ingest.checks.lanes import Lanes
from services.ingest.checks.stages import Stages
from services.ingest.checks.staging import each, open_staged
from services.ingest.dataset import Limits, RecordLayout, Records, Split
from services.ingest.finding import Code, FindingWriter
from services.ingest.reading.record_files import RecordFiles
from services.ingest.reading.record_writer import RecordWriter
from services.ingest.workbench import EngineOptions, Workbench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with Workbench(tmp_path, EngineOptions()) as bench:
        yield bench


@pytest.fixture
def stages(bench: Workbench) -> Iterator[Stages]:
    with Lanes(bench, 2, partial(cleaning_rows.prepare, cleaning=Cleaning())) as lanes:
        yield Stages(lanes, Limits(), most_waiting=3)


def write(directory: Path, split: Split, take: Callable[[Records], None]) -> None:
    """Write eight records of which every third stands on two lines, a dropped row in between."""
    with (
        FindingWriter(directory / f"{split}.findings.csv") as findings,
        RecordFiles(split=split, directory=directory, take=take, least_bytes=20) as files,
    ):
        out = RecordWriter(split=split, limits=Limits(), files=files, findings=findings)
        out.skip_header(1)
        for number in range(8):
            text = f'"{split}\n{number}"' if number % 3 == 0 else f"{split} {number}"
            out.keep(f"{text},a\n".encode(), lines=1 + (number % 3 == 0))
            if number == 4:
                out.drop(Code.MALFORMED_QUOTES, "It is none.", b"x", fix="Mend it.")
        out.describe(RecordLayout())
        files.finish()


def rows(bench: Workbench) -> list[tuple[int, int, int, str]]:
    query = "SELECT id, row, line, replace(text, chr(10), ' ') FROM staged ORDER BY id"
    return [(place, row, line, text) for place, row, line, text in bench.rows(query)]


EXPECTED = [(1, 2), (2, 4), (3, 5), (4, 6), (5, 8), (7, 10), (8, 11), (9, 13)]
"""Row and line of each record."""


def test_records_are_handed_on_in_files_once_their_layout_is_known(tmp_path: Path) -> None:
    taken: list[Records] = []

    write(tmp_path, Split.TRAIN, taken.append)

    assert len(taken) > 2
    assert sum(records.count for records in taken) == 8
    assert all(records.path.stat().st_size >= 20 for records in taken[:-1])
    assert {records.layout for records in taken} == {RecordLayout()}


def test_a_file_in_many_runs_is_one(bench: Workbench, stages: Stages, tmp_path: Path) -> None:
    for split in Split:
        write(tmp_path, split, stages.add)
    count = open_staged(bench, stages.finish())

    assert count == 24
    assert rows(bench) == [
        (8 * file + number, row, line, f"{split} {number}")
        for file, split in enumerate(Split)
        for number, (row, line) in enumerate(EXPECTED)
    ]
    assert not list(tmp_path.glob("*.records.csv")) + list(tmp_path.glob("*.positions.csv"))


def test_what_was_misread_is_forgotten(bench: Workbench, stages: Stages, tmp_path: Path) -> None:
    write(tmp_path, Split.TRAIN, stages.add)
    write(tmp_path, Split.TEST, stages.add)
    stages.forget(Split.TEST)
    write(tmp_path, Split.TEST, stages.add)
    count = open_staged(bench, stages.finish())

    assert count == 16
    assert [row[1:3] for row in rows(bench)] == [*EXPECTED, *EXPECTED]


def test_what_fails_beside_is_raised_to_who_reads(stages: Stages, tmp_path: Path) -> None:
    def damaged(records: Records) -> None:
        records.path.write_bytes(records.path.read_bytes() * 2)
        stages.add(records)

    with pytest.raises(RuntimeError, match="were written for DuckDB"):
        write(tmp_path, Split.TRAIN, damaged)


def test_stages_one_at_a_time_are_all_rows_each_once(
    bench: Workbench, stages: Stages, tmp_path: Path
) -> None:
    for split in Split:
        write(tmp_path, split, stages.add)
    staged = stages.finish()
    open_staged(bench, staged)
    everything = rows(bench)
    bounds = "SELECT getvariable('first_id'), getvariable('last_id')"

    apart = [(rows(bench), *bench.rows(bounds)) for _ in each(bench, staged)]

    assert len(apart) == len(staged) > 3
    assert [row for part, _ in apart for row in part] == everything
    assert all((part[0][0], part[-1][0]) == ids for part, ids in apart)
    assert rows(bench) == everything
