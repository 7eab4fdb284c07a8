"""A file that is read while it is written: all of it, or an error."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.ingest.growing import Abandoned, GrowingFile
from services.ingest.workbench import EngineOptions, Workbench

_ROWS = "SELECT i, sha256(i::VARCHAR) AS text, [hash(i)::VARCHAR] AS labels FROM range(300000) t(i)"


@contextmanager
def read(file: GrowingFile) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool
        finally:
            file.abandon()


def test_a_parquet_file_is_read_whole_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    file = GrowingFile(path)
    seen: list[bytes] = []

    def follow() -> None:
        seen.extend(file.chunks())

    with read(file) as pool, Workbench(tmp_path, EngineOptions(threads=1)) as bench:
        following = pool.submit(follow)
        bench.write(_ROWS, path.name, stays=True)
        file.finish()
        following.result(timeout=60)

    # More than one group of rows was written, so some of it was read before the end.
    assert path.stat().st_size > 10_000_000
    assert hashlib.sha256(b"".join(seen)).digest() == hashlib.sha256(path.read_bytes()).digest()


def test_what_is_written_is_read_before_the_end(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "rows")
    with read(file) as pool:
        chunks = file.chunks()
        first = pool.submit(next, chunks)
        (tmp_path / "rows").write_bytes(b"one")
        assert first.result(timeout=60) == b"one"
        with (tmp_path / "rows").open("ab") as appended:
            appended.write(b"two")
        assert pool.submit(next, chunks).result(timeout=60) == b"two"
        file.finish()
        assert list(chunks) == []


@pytest.mark.parametrize("begun", [False, True])
def test_a_file_that_is_given_up_ends_in_an_error(tmp_path: Path, begun: bool) -> None:  # noqa: FBT001
    file = GrowingFile(tmp_path / "rows")
    if begun:
        (tmp_path / "rows").write_bytes(b"one")
    with read(file) as pool:
        reading = pool.submit(list, file.chunks())
        file.abandon()
        assert isinstance(reading.exception(timeout=60), Abandoned)


def test_a_whole_file_cannot_be_given_up(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"one")
    file = GrowingFile(tmp_path / "rows")
    file.finish()
    file.abandon()
    assert list(file.chunks()) == [b"one"]
