"""The ingest process: assembles the service and serves until it is told to stop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import structlog

from isogloss.v1.dataset_service_pb2_grpc import add_DatasetServiceServicer_to_server
from services.common.database import Database
from services.common.errors import Unavailable
from services.common.manifests import fetch
from services.common.server import Application, Service, run
from services.common.settings import load
from services.common.storage import ObjectStore, open_store
from services.ingest import convert
from services.ingest.artefacts import ArtefactCache
from services.ingest.record import StoredFile
from services.ingest.registry import Registry
from services.ingest.scratch import Scratch
from services.ingest.servicer import ROLES, SERVICE, DatasetServicer
from services.ingest.settings import IngestSettings
from services.ingest.uploads import Uploads
from services.ingest.worker import Worker

_log = structlog.get_logger()

MIGRATIONS = Path(__file__).parent / "migrations"

_PAUSE_SECONDS = 1.0
"""After the store or the database did not answer."""

_DELETION_SECONDS = 60.0
"""How often deletions that a crash cut short are taken up."""


def build(settings: IngestSettings) -> Application:
    """Assemble the service."""
    store = open_store(settings.store_url, settings.store_options)
    database = Database(settings.database_url)
    database.upgrade(MIGRATIONS)
    uploads = Uploads(store, settings.upload_limits)
    registry = Registry(
        database=database, store=store, uploads=uploads, profiles=settings.named_profiles()
    )
    scratch = Scratch(settings.data_directory / "ingest" / "scratch")
    options = settings.worker_options(scratch.path)
    workers = [
        Worker(database=database, store=store, uploads=uploads, options=options)
        for _ in range(settings.validators)
    ]
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

    servicer = DatasetServicer(
        registry=registry,
        uploads=uploads,
        cache=cache,
        wake=wake,
        concurrent_uploads=settings.concurrent_uploads,
    )
    return Application(
        settings=settings,
        services=[
            Service(name=SERVICE, servicer=servicer, add=add_DatasetServiceServicer_to_server)
        ],
        roles=ROLES,
        background=[
            *(partial(_validate, worker, bell, settings.poll_seconds) for worker in workers),
            partial(_finish_deletions, registry.finish_deletions, _DELETION_SECONDS),
        ],
        close=[*(worker.close for worker in workers), scratch.close, database.close],
    )


async def _validate(worker: Worker, bell: asyncio.Condition, poll_seconds: float) -> None:
    """Validate whatever waits, at once when it is told so, else at the next look."""
    try:
        while True:
            try:
                worked = await asyncio.to_thread(worker.run_one)
            except Unavailable as error:
                _log.warning("validator waits", error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            except Exception:  # noqa: BLE001  # logged; one validation must not end all others
                _log.exception("validator failed")
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


async def _finish_deletions(finish: Callable[[], None], pause_seconds: float) -> None:
    while True:
        try:
            await asyncio.to_thread(finish)
        except Unavailable as error:
            _log.warning("deletions wait", error=str(error))
        except Exception:  # noqa: BLE001  # logged; a deletion that fails must not end the server
            _log.exception("deletions failed")
        await asyncio.sleep(pause_seconds)


def _fetch(store: ObjectStore, file: StoredFile, path: Path) -> None:
    fetch(store, convert.file_to_proto(file), path)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = load(IngestSettings, sys.argv[1:] if argv is None else argv)
    run(lambda: build(settings), settings)


if __name__ == "__main__":
    main()
