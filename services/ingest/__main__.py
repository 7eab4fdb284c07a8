"""The ingest process: assembles the service and serves until it is told to stop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from isogloss.v1.dataset_service_pb2_grpc import add_DatasetServiceServicer_to_server
from services.common.database import Database
from services.common.errors import Unavailable
from services.common.manifests import fetch
from services.common.scratch import Scratch
from services.common.server import Application, Service, run
from services.common.settings import load
from services.common.slots import Slots
from services.common.storage import ObjectStore, open_store
from services.ingest.check import Checker
from services.ingest.convert import datasets as convert
from services.ingest.creation import Creation
from services.ingest.deletion import Deletion
from services.ingest.published.artefacts import ArtefactCache
from services.ingest.published.diff import Differences
from services.ingest.published.download import Downloads
from services.ingest.reconcile import reconcile
from services.ingest.record import StoredFile
from services.ingest.registry import Registry
from services.ingest.roles import ROLES, SERVICE
from services.ingest.servicer import DatasetServicer
from services.ingest.settings import IngestSettings
from services.ingest.sweep import Sweep
from services.ingest.uploading.direct import DirectUploads
from services.ingest.uploading.importer import Importer
from services.ingest.uploading.imports import Imports
from services.ingest.uploading.uploads import Uploads
from services.ingest.viewing import Viewer
from services.ingest.worker import Worker

_log = structlog.get_logger()

MIGRATIONS = Path(__file__).parent / "migrations"

_PAUSE_SECONDS = 1.0
"""After the store or the database did not answer."""

_DELETION_SECONDS = 60.0
"""How often deletions that a crash cut short are taken up."""

_FORGETTING_SECONDS = 3600.0
"""How often request ids that are days old are forgotten."""


def build(settings: IngestSettings) -> Application:
    """Assemble the service."""
    store = open_store(settings.store_url, settings.store_options)
    database = Database(settings.database_url)
    database.upgrade(MIGRATIONS)
    uploads = Uploads(store, settings.upload_limits)
    quotas = settings.quotas
    registry = Registry(database=database, store=store, uploads=uploads, quotas=quotas)
    deletion = Deletion(database, store)
    creation = Creation(
        database, settings.named_profiles(), quotas=quotas, retention=settings.retention
    )
    sweep = Sweep(
        database=database,
        store=store,
        deletion=deletion,
        abandoned_after=timedelta(hours=settings.abandoned_upload_hours),
        grace=timedelta(hours=settings.orphan_grace_hours),
    )
    buckets = settings.open_import_buckets()
    scratch = Scratch(settings.data_directory / "ingest" / "scratch")
    options = settings.worker_options(scratch.path)
    workers = [
        Worker(database=database, store=store, uploads=uploads, options=options)
        for _ in range(settings.validators)
    ]
    importers = [
        Importer(
            database=database,
            registry=registry,
            uploads=uploads,
            quotas=quotas,
            readers={name: bucket.reader for name, bucket in buckets.items()},
            owner=options.owner,
            lease_seconds=settings.lease_seconds,
        )
        for _ in range(settings.concurrent_imports if buckets else 0)
    ]
    busy: list[_Worker] = [*workers, *importers]
    cache = ArtefactCache(
        settings.data_directory / "ingest" / "cache",
        fetch=partial(_fetch, store),
        max_bytes=settings.cache_bytes,
    )
    bell = asyncio.Condition()
    wakers: set[asyncio.Task[None]] = set()

    def wake() -> None:
        task = asyncio.create_task(_ring(bell))
        wakers.add(task)
        task.add_done_callback(wakers.discard)

    checking = Slots(settings.concurrent_checks, what="checks, comparisons and conversions")
    servicer = DatasetServicer(
        creation=creation,
        registry=registry,
        deletion=deletion,
        direct=DirectUploads(
            database=database,
            store=store,
            uploads=uploads,
            quotas=quotas,
            seconds=settings.upload_url_seconds,
        ),
        imports=Imports(creation, buckets, settings.upload_limits),
        checker=Checker(
            scratch=scratch.path,
            limits=options.limits,
            engine=options.engine,
            profiles=options.profiles,
            upload_limits=settings.upload_limits,
        ),
        viewer=Viewer(
            registry=registry,
            uploads=uploads,
            cache=cache,
            downloads=Downloads(
                store=store, cache=cache, scratch=scratch.path, engine=options.engine
            ),
            differences=Differences(cache=cache, scratch=scratch.path, engine=options.engine),
            slots=checking,
        ),
        wake=wake,
        quotas=quotas,
        pace=settings.pace,
        concurrent_uploads=settings.concurrent_uploads,
        checking=checking,
    )
    return Application(
        settings=settings,
        services=[
            Service(name=SERVICE, servicer=servicer, add=add_DatasetServiceServicer_to_server)
        ],
        roles=ROLES,
        background=[
            *(partial(_work, worker, bell, settings.poll_seconds) for worker in busy),
            *(
                partial(_repeat, job, settings.sweep_seconds, what)
                for job, what in (
                    (sweep.remove_expired, "retention"),
                    (sweep.remove_abandoned, "abandoned uploads"),
                    (sweep.remove_orphans, "orphans"),
                )
            ),
            partial(_repeat, deletion.finish, _DELETION_SECONDS, "deletions"),
            partial(_repeat, creation.forget_requests, _FORGETTING_SECONDS, "request ids"),
            partial(_until_done, partial(reconcile, database, store), "reconciliation"),
        ],
        close=[*(worker.close for worker in busy), scratch.close, database.close],
    )


class _Worker(Protocol):
    """Does one piece of work at a time, in a thread."""

    def run_one(self) -> bool:
        """Do one, and tell whether there was one."""
        ...

    def stop(self) -> None:
        """Give up what is being done."""
        ...

    def close(self) -> None:
        """Stop, and wait until nothing is being done any more."""
        ...


async def _work(worker: _Worker, bell: asyncio.Condition, poll_seconds: float) -> None:
    """Do whatever waits, at once when it is told so, else at the next look."""
    try:
        while True:
            try:
                worked = await asyncio.to_thread(worker.run_one)
            except Unavailable as error:
                _log.warning("worker waits", error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            except Exception:  # noqa: BLE001  # logged; one dataset must not end all others
                _log.exception("worker failed")
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if not worked:
                async with bell:
                    try:
                        await asyncio.wait_for(bell.wait(), poll_seconds)
                    except TimeoutError:
                        continue
    finally:
        worker.stop()


async def _ring(bell: asyncio.Condition) -> None:
    async with bell:
        bell.notify_all()


async def _repeat(job: Callable[[], object], pause_seconds: float, what: str) -> None:
    """Do a job again and again; one that fails is logged and must not end the server."""
    while True:
        try:
            await asyncio.to_thread(job)
        except Unavailable as error:
            _log.warning("background job waits", job=what, error=str(error))
        except Exception:  # noqa: BLE001  # logged; the next turn may succeed
            _log.exception("background job failed", job=what)
        await asyncio.sleep(pause_seconds)


async def _until_done(job: Callable[[], object], what: str) -> None:
    """Do a job once, as soon as what it needs answers."""
    while True:
        try:
            await asyncio.to_thread(job)
        except Unavailable as error:
            _log.warning("background job waits", job=what, error=str(error))
            await asyncio.sleep(_PAUSE_SECONDS)
        except Exception:  # noqa: BLE001  # logged; the server is useful without
            _log.exception("background job failed", job=what)
            return
        else:
            return


def _fetch(store: ObjectStore, file: StoredFile, path: Path) -> None:
    fetch(store, convert.file_to_proto(file), path)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = load(IngestSettings, sys.argv[1:] if argv is None else argv)
    run(lambda: build(settings), settings)


if __name__ == "__main__":
    main()
