"""Files of an attempt that come into the store while they are written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.common.storage import ObjectStore, open_store, read_all
from services.ingest.dataset import DatasetOptions, State
from services.ingest.publish import AttemptFiles
from services.ingest.record import DatasetRecord


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


def attempt(store: ObjectStore) -> AttemptFiles:
    now = datetime.now(UTC)
    record = DatasetRecord(
        tenant="default",
        id="tone-abcdef",
        display_name="Tone",
        options=DatasetOptions(),
        state=State.VALIDATING,
        create_time=now,
        update_time=now,
    )
    return AttemptFiles(store, record, 7)


def test_a_file_that_grows_is_stored_as_it_was_in_the_end(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "train.parquet"
    with attempt(store) as files:
        files.begin(path, "hash")
        path.write_bytes(b"one")
        with path.open("ab") as file:
            file.write(b"two")
        files.finish(path)
        stored = files.stored(path)

    assert read_all(store, stored.key, limit=100) == b"onetwo"
    assert stored.size == 6
    assert "/7/" in stored.key


def test_what_is_not_whole_when_the_attempt_ends_is_not_stored(
    store: ObjectStore, tmp_path: Path
) -> None:
    begun, unbegun = tmp_path / "train.parquet", tmp_path / "test.parquet"
    begun.write_bytes(b"one")
    with attempt(store) as files:
        files.begin(begun, "hash")
        files.begin(unbegun, "hash")

    assert list(store.list("default/")) == []
