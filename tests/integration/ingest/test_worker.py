"""Validators that die, stall and are overtaken."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest
from services.common.database import Database, schema_differences
from services.common.errors import Unavailable
from services.common.manifests import read_manifest
from services.common.storage import ObjectInfo, ObjectStore, open_store
from services.ingest.__main__ import MIGRATIONS
from services.ingest.dataset import DatasetOptions, Limits, Profile, Split, State
from services.ingest.record import DatasetRecord
from services.ingest.registry import Registry
from services.ingest.tables import Base, DatasetRow
from services.ingest.uploads import UploadLimits, Uploads
from services.ingest.workbench import EngineOptions
from services.ingest.worker import Worker, WorkerOptions
from tests.engines import PostgresServer
from tests.messages import as_csv

PROFILES = {"standard": Profile(min_examples=250, advised_examples=500, min_per_label=5)}
FIRST_PART = f"/raw/train/{0:020d}"


class StallingStore:
    """A store that stalls or fails where a test wants it to."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.stall_at = ""
        self.fail_at = ""
        self.stalled = threading.Event()
        self.go_on = threading.Event()

    def put(self, key: str, data: bytes | Iterable[bytes]) -> ObjectInfo:
        info = self._store.put(key, data)
        self._meet(key)
        return info

    def create(self, key: str, data: bytes) -> bool:
        if "/raw/" not in key:
            self._meet(key)
        return self._store.create(key, data)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        if "/raw/" in key:
            self._meet(key)
        return self._store.get(key, offset=offset, length=length)

    def stat(self, key: str) -> ObjectInfo | None:
        return self._store.stat(key)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        return self._store.list(prefix, start_after=start_after)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def _meet(self, key: str) -> None:
        if self.fail_at and key.endswith(self.fail_at):
            raise Unavailable("The store is down.")
        if self.stall_at and key.endswith(self.stall_at):
            self.stalled.set()
            assert self.go_on.wait(60)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/ingest.sqlite"
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
    database = Database(url)
    database.upgrade(MIGRATIONS)
    yield database
    database.close()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


class Place:
    """One process's parts, on a database and a store that others share."""

    def __init__(self, database: Database, store: ObjectStore, scratch: Path) -> None:
        self.database = database
        self.store = store
        uploads = Uploads(store, UploadLimits())
        self.registry = Registry(database=database, store=store, uploads=uploads, profiles=PROFILES)
        self.uploads = uploads
        self.worker = Worker(
            database=database,
            store=store,
            uploads=uploads,
            options=WorkerOptions(
                scratch=scratch,
                profiles=PROFILES,
                limits=Limits(),
                engine=EngineOptions(threads=1),
                max_attempts=3,
            ),
        )

    def finalised(self, content: bytes) -> DatasetRecord:
        record = self.registry.create(
            "default",
            display_name="Tone",
            options=DatasetOptions(),
            request_id="",
            validate_only=False,
        )
        writer = self.uploads.open("default", record.id, Split.TRAIN)
        writer.add(0, content)
        writer.flush()
        return self.registry.finalize("default", record.id, {})

    def lease_runs_out(self) -> None:
        with self.database.write() as session:
            session.execute(sa.update(DatasetRow).values(lease_until=self.database.now(-1)))


@pytest.fixture
def place(database: Database, store: ObjectStore, tmp_path: Path) -> Place:
    return Place(database, store, tmp_path / "scratch")


def test_the_migrations_make_what_the_tables_declare(database: Database) -> None:
    assert schema_differences(database, Base.metadata) == []


def test_a_finalised_dataset_is_validated_once(place: Place) -> None:
    record = place.finalised(as_csv())

    assert place.worker.run_one()
    assert not place.worker.run_one()

    ready = place.registry.get("default", record.id)
    assert ready.state is State.READY
    assert ready.report is not None
    assert ready.report.splits == {Split.TRAIN: 260, Split.VALIDATION: 32, Split.TEST: 32}


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

    Place(database, store, tmp_path / "other").registry.delete("default", record.id)
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
    place.registry.finish_deletions()

    assert list(store.list("default/")) == []
    with database.read() as session:
        assert session.get(DatasetRow, ("default", record.id)) is None
