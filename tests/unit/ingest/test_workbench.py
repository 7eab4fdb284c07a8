"""What one database may take."""

from __future__ import annotations

from pathlib import Path

from services.ingest.workbench import EngineOptions, Workbench

_LONG_TEXTS = "SELECT repeat(md5(i::VARCHAR), 256) AS text, i FROM range(16384) t(i)"

_GROUP_ROWS = "SELECT max(row_group_num_rows) FROM parquet_metadata(getvariable('written'))"


def test_long_texts_are_written_in_groups_that_fit_the_memory(tmp_path: Path) -> None:
    with Workbench(tmp_path, EngineOptions(memory_limit="220MB", threads=1)) as bench:
        for stays in (False, True):
            path = bench.write(_LONG_TEXTS, f"{stays}.parquet", stays=stays, row_bytes=8200)
            bench.set(written=str(path))
            metadata = (
                "SELECT max(row_group_num_rows) FROM parquet_metadata(getvariable('written'))"
            )
            assert bench.value(metadata) == 6144
