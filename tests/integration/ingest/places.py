"""The parts of an ingest process without a server, and stores that misbehave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import sqlalchemy as sa

from services.common.database import Database
from services.common.errors import Unavailable
from services.common.storage import BeforeEnd, Content, ObjectInfo, ObjectStore
from services.ingest.creation import Creation, NewDataset
from services.ingest.dataset import DatasetOptions, Limits, Profile, Split
from services.ingest.deletion import Deletion
from services.ingest.record import DatasetRecord
from services.ingest.registry import Registry
from services.ingest.tables import DatasetRow
from services.ingest.uploading.limits import UploadLimits
from services.ingest.uploading.quotas import Quotas
from services.ingest.uploading.uploads import Uploads
from services.ingest.workbench import EngineOptions
from services.ingest.worker import Worker, WorkerOptions
from tests.stores import PassingStore

PROFILES = {"standard": Profile(min_examples=250, advised_examples=500, min_per_label=5)}


class StallingStore(PassingStore):
    """A store that stalls or fails where a test wants it to."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store)
        self.stall_at = ""
        self.fail_at = ""
        self.created: list[str] = []
        self.stalled = threading.Event()
        self.go_on = threading.Event()

    def put(self, key: str, data: bytes | Iterable[bytes]) -> ObjectInfo:
        info = super().put(key, data)
        self._meet(key)
        return info

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        if "/raw/" not in key:
            self._meet(key)
        self.created.append(key)
        return super().create(key, data, before_end=before_end)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        if "/raw/" in key:
            self._meet(key)
        return super().get(key, offset=offset, length=length)

    def _meet(self, key: str) -> None:
        if self.fail_at and key.endswith(self.fail_at):
            raise Unavailable("The store is down.")
        if self.stall_at and key.endswith(self.stall_at):
            self.stalled.set()
            assert self.go_on.wait(60)


class CrowdedStore(PassingStore):
    """A store at which somebody else acts at one moment, once."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store)
        self._moment = ""
        self._act: Callable[[], object] = lambda: None

    def at(self, moment: str, act: Callable[[], object]) -> None:
        """Let somebody act `before create`, `after create`, `after list` or `after delete`.

        Of a part of an upload, that is: other objects do not count.
        """
        self._moment, self._act = moment, act

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        def before() -> None:
            if before_end is not None:
                before_end()
            self._reach("before create", key)

        created = super().create(key, data, before_end=before)
        self._reach("after create", key)
        return created

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        yield from super().list(prefix, start_after=start_after)
        self._reach("after list", prefix)

    def delete(self, key: str) -> None:
        super().delete(key)
        self._reach("after delete", key)

    def _reach(self, moment: str, key: str) -> None:
        if moment == self._moment and "/raw/" in key:
            self._moment = ""
            self._act()


class Place:
    """One process's parts, on a database and a store that others share."""

    def __init__(self, database: Database, store: ObjectStore, scratch: Path) -> None:
        self.database = database
        self.store = store
        uploads = Uploads(store, UploadLimits())
        quotas = Quotas()
        self.creation = Creation(database, PROFILES, quotas=quotas)
        self.registry = Registry(database=database, store=store, uploads=uploads, quotas=quotas)
        self.deletion = Deletion(database, store)
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

    def created(self) -> DatasetRecord:
        return self.creation.create(
            "default", NewDataset(display_name="Tone", options=DatasetOptions())
        )

    def finalised(self, content: bytes) -> DatasetRecord:
        record = self.created()
        writer = self.uploads.open("default", record.id, Split.TRAIN)
        writer.add(0, content)
        writer.flush()
        return self.registry.finalize("default", record.id, {})

    def lease_runs_out(self) -> None:
        with self.database.write() as session:
            session.execute(sa.update(DatasetRow).values(lease_until=self.database.now(-1)))
