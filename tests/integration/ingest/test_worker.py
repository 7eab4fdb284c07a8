"""Validators that die, stall and are overtaken."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest
from services.common.database import Database, schema_differences
from services.common.errors import Unavailable
from services.common.manifests import read_manifest
from services.common.storage import ObjectStore
from services.ingest.dataset import Split, State
from services.ingest.tables import Base, DatasetRow
from tests.integration.ingest.places import CrowdedStore, Place, StallingStore
from tests.messages import ROWS, as_csv

FIRST_PART = f"/raw/train/{0:020d}"


def test_the_migrations_make_what_the_tables_declare(database: Database) -> None:
    assert schema_differences(database, Base.metadata) == []


def test_a_finalised_dataset_is_validated_once(place: Place) -> None:
    record = place.finalised(as_csv())

    assert place.worker.run_one()
    assert not place.worker.run_one()

    ready = place.registry.get("default", record.id)
    assert ready.state is State.READY
    assert ready.report is not None
    assert sum(ready.report.splits.values()) == len(ROWS)
    assert all(ready.report.splits[split] for split in Split)


@pytest.mark.parametrize("stall_at", [FIRST_PART, "train.parquet", "dataset.json"])
def test_an_overtaken_validator_changes_nothing(
    database: Database, store: ObjectStore, tmp_path: Path, stall_at: str
) -> None:
    slow_store = StallingStore(store)
    slow_store.stall_at = stall_at
    slow = Place(database, slow_store, tmp_path / "slow")
    quick = Place(database, store, tmp_path / "quick")
    record = slow.finalised(as_csv())
    overtaken = threading.Thread(target=slow.worker.run_one)
    overtaken.start()
    assert slow_store.stalled.wait(20)

    slow.lease_runs_out()
    assert quick.worker.run_one()
    published = {info.key: info.modified for info in store.list("default/")}
    slow_store.go_on.set()
    overtaken.join()

    assert quick.registry.get("default", record.id).state is State.READY
    after = {info.key: info.modified for info in store.list("default/")}
    assert after == {key: time for key, time in published.items() if key in after}
    manifest = read_manifest(store, f"default/{record.name}/dataset.json", DatasetManifest)
    named = {split.file.key for split in manifest.splits} | {manifest.findings.key}
    assert set(after) == named | {f"default/{record.name}/dataset.json"}
    assert all("/2/" in key for key in named)


def test_a_crash_after_the_manifest_is_finished_from_it(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    place = Place(database, store, tmp_path / "scratch")
    record = place.finalised(as_csv())
    assert place.worker.run_one()
    before = place.registry.get("default", record.id)
    with database.write() as session:
        session.execute(
            sa.update(DatasetRow).values(
                state=State.VALIDATING, report=None, findings=None, splits=None, content_hash=""
            )
        )

    assert place.worker.run_one()

    after = place.registry.get("default", record.id)
    assert after.report == before.report
    assert after.splits == before.splits
    assert after.content_hash == before.content_hash
    assert after.validate_time == before.validate_time


def test_an_outage_of_the_store_costs_no_attempt(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    failing = StallingStore(store)
    place = Place(database, failing, tmp_path / "scratch")
    record = place.finalised(as_csv())
    failing.fail_at = "findings.parquet"
    for _ in range(5):
        with pytest.raises(Unavailable):
            place.worker.run_one()
    failing.fail_at = ""

    assert place.worker.run_one()

    assert place.registry.get("default", record.id).state is State.READY
    # What the failed attempts had stored is gone.
    assert len(list(store.list("default/"))) == 5


def test_files_that_break_the_validator_fail_in_the_end(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    place = Place(database, store, tmp_path / "scratch")
    record = place.finalised(as_csv())
    for info in list(store.list(f"default/{record.name}/raw/")):
        store.delete(info.key)

    assert [place.worker.run_one() for _ in range(4)] == [True, True, True, False]

    failed = place.registry.get("default", record.id)
    assert failed.state is State.FAILED
    assert [problem.code for problem in failed.problems] == ["internal"]


@pytest.mark.parametrize("stall_at", [FIRST_PART, "train.parquet", "dataset.json"])
def test_a_dataset_deleted_while_it_is_validated_leaves_nothing(
    database: Database, store: ObjectStore, tmp_path: Path, stall_at: str
) -> None:
    slow_store = StallingStore(store)
    slow_store.stall_at = stall_at
    slow = Place(database, slow_store, tmp_path / "slow")
    record = slow.finalised(as_csv())
    validator = threading.Thread(target=slow.worker.run_one)
    validator.start()
    assert slow_store.stalled.wait(20)

    Place(database, store, tmp_path / "other").deletion.delete("default", record.id)
    slow_store.go_on.set()
    validator.join()

    assert list(store.list("default/")) == []


def test_a_stopped_validator_leaves_its_work_to_others(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    slow_store = StallingStore(store)
    slow_store.stall_at = FIRST_PART
    slow = Place(database, slow_store, tmp_path / "slow")
    record = slow.finalised(as_csv())
    validator = threading.Thread(target=slow.worker.run_one)
    validator.start()
    assert slow_store.stalled.wait(20)

    slow.worker.stop()
    slow_store.go_on.set()
    validator.join()
    assert slow.registry.get("default", record.id).state is State.VALIDATING
    other = Place(database, store, tmp_path / "other")
    assert other.worker.run_one()

    assert other.registry.get("default", record.id).state is State.READY


def test_a_deletion_that_was_cut_short_is_taken_up(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    place = Place(database, store, tmp_path / "scratch")
    record = place.finalised(as_csv())
    with database.write() as session:
        session.execute(sa.update(DatasetRow).values(deleting=True))

    assert not place.worker.run_one()
    place.deletion.finish()

    assert list(store.list("default/")) == []
    with database.read() as session:
        assert session.get(DatasetRow, ("default", record.id)) is None


def test_an_overtaken_validator_publishes_nothing_of_a_dataset_that_failed(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    slow_store = StallingStore(store)
    slow_store.stall_at = "dataset.json"
    slow = Place(database, slow_store, tmp_path / "slow")
    other = Place(database, store, tmp_path / "other")
    record = slow.finalised(as_csv())
    with database.write() as session:
        # The last attempt: whoever claims it next gives up.
        session.execute(sa.update(DatasetRow).values(attempt=2))
    overtaken = threading.Thread(target=slow.worker.run_one)
    overtaken.start()
    assert slow_store.stalled.wait(20)

    slow.lease_runs_out()
    assert other.worker.run_one()
    slow_store.go_on.set()
    overtaken.join()

    assert other.registry.get("default", record.id).state is State.FAILED
    assert [info.key for info in store.list("default/") if "/raw/" not in info.key] == []


def test_an_overtaken_validator_publishes_nothing_of_a_dataset_that_is_being_deleted(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    slow_store = StallingStore(store)
    slow_store.stall_at = "dataset.json"
    slow = Place(database, slow_store, tmp_path / "slow")
    slow.finalised(as_csv())
    overtaken = threading.Thread(target=slow.worker.run_one)
    overtaken.start()
    assert slow_store.stalled.wait(20)

    with database.write() as session:
        session.execute(
            sa.update(DatasetRow).values(
                deleting=True, token=DatasetRow.token + 1, lease_until=None
            )
        )
    for info in list(store.list("default/")):
        store.delete(info.key)
    slow_store.go_on.set()
    overtaken.join()

    assert list(store.list("default/")) == []


def test_the_lease_is_looked_at_right_before_the_manifest(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    slow_store = StallingStore(store)
    # The last of the files that the manifest names.
    slow_store.stall_at = "findings.parquet"
    slow = Place(database, slow_store, tmp_path / "slow")
    slow.finalised(as_csv())
    overtaken = threading.Thread(target=slow.worker.run_one)
    overtaken.start()
    assert slow_store.stalled.wait(20)

    with database.write() as session:
        session.execute(sa.update(DatasetRow).values(token=DatasetRow.token + 1))
    slow_store.go_on.set()
    overtaken.join()

    assert [key for key in slow_store.created if key.endswith("dataset.json")] == []


def test_parts_that_come_while_the_upload_is_removed_are_removed_too(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    crowded = CrowdedStore(store)
    place = Place(database, crowded, tmp_path / "scratch")
    record = place.finalised(as_csv())
    late = f"default/{record.name}/raw/train/{len(as_csv()):020d}"
    crowded.at("after delete", lambda: store.create(late, b"late"))

    assert place.worker.run_one()

    assert place.registry.get("default", record.id).state is State.READY
    assert list(store.list(f"default/{record.name}/raw/")) == []


def test_a_scratch_directory_that_breaks_costs_no_attempt(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    place = Place(database, store, scratch)
    record = place.finalised(as_csv())
    scratch.rmdir()
    scratch.write_text("a file where the directory should be")
    for _ in range(5):
        with pytest.raises(Unavailable, match="scratch directory"):
            place.worker.run_one()
    assert place.registry.get("default", record.id).phase == "waiting for scratch space"
    scratch.unlink()

    assert place.worker.run_one()

    assert place.registry.get("default", record.id).state is State.READY
