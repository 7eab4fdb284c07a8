from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.common.storage import ObjectInfo
from services.inference.fetched.records import Records


def info(key: str) -> ObjectInfo:
    return ObjectInfo(key=key, size=3, modified=datetime(2026, 1, 2, 3, 4, 5, 678, UTC))


def files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def test_what_was_kept_is_recalled_by_another_process(tmp_path: Path) -> None:
    Records(tmp_path).keep(info("t/models/m/model.json"), b"{}\n\n")

    record = Records(tmp_path).recall("t/models/m/model.json")

    assert record is not None
    assert (record.info, record.content) == (info("t/models/m/model.json"), b"{}\n\n")
    assert 0 <= record.age < 60


def test_nothing_is_recalled_of_what_was_not_kept(tmp_path: Path) -> None:
    records = Records(tmp_path)
    assert not records

    records.keep(info("a"), b"{}")

    assert records
    assert records.recall("b") is None


def test_what_was_forgotten_is_gone(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.keep(info("a"), b"{}")

    records.forget("a")
    records.forget("a")

    assert records.recall("a") is None
    assert not records


def test_the_age_counts_from_the_last_confirmation(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.keep(info("a"), b"{}")
    (path,) = files(tmp_path)
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))
    old = records.recall("a")
    assert old is not None
    assert 3600 <= old.age < 3700

    records.confirm("a")

    new = records.recall("a")
    assert new is not None
    assert new.age < 60


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"key": "a"}\nx', b"\xff\n", b"[]\n"])
def test_a_damaged_record_is_none(tmp_path: Path, damage: bytes) -> None:
    records = Records(tmp_path)
    records.keep(info("a"), b"{}")
    (path,) = files(tmp_path)

    path.write_bytes(damage)

    assert records.recall("a") is None


def test_a_record_with_other_content_is_none(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.keep(info("a"), b"{}")
    (path,) = files(tmp_path)

    path.write_bytes(path.read_bytes()[:-1] + b"]")

    assert records.recall("a") is None


def test_records_are_bounded_and_those_confirmed_longest_ago_go(tmp_path: Path) -> None:
    records = Records(tmp_path, max_bytes=3000)
    for number, key in enumerate("abcd"):
        records.keep(info(key), b"x" * 800)
        for path in files(tmp_path):
            stat = path.stat()
            os.utime(path, (stat.st_atime, stat.st_mtime - 10))
        if number == 2:
            records.confirm("a")

    assert [key for key in "abcd" if records.recall(key)] == ["a", "c", "d"]
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 3000


def test_a_directory_that_cannot_be_written_fails_no_call(tmp_path: Path) -> None:
    directory = tmp_path / "records"
    records = Records(directory)
    directory.rmdir()

    records.keep(info("a"), b"{}")

    assert records.recall("a") is None
