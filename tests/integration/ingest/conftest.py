"""A real ingest server on the embedded store and SQLite, and real stubs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from services.common.database import Database
from services.common.server import running_server
from services.common.storage import ObjectStore, open_store
from services.ingest.__main__ import MIGRATIONS, build
from services.ingest.settings import IngestSettings
from tests.integration.ingest.places import Place

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub


@pytest.fixture
def settings(tmp_path: Path) -> IngestSettings:
    return IngestSettings(
        address="127.0.0.1:0",
        data_directory=tmp_path / "data",
        poll_seconds=0.1,
        upload_part_bytes=64 << 10,
        shutdown_grace=1.0,
    )


@pytest.fixture
async def stub(settings: IngestSettings) -> AsyncIterator[DatasetServiceAsyncStub]:
    async with (
        running_server(build(settings)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield DatasetServiceStub(channel)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.upgrade(MIGRATIONS)
    yield database
    database.close()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def place(database: Database, store: ObjectStore, tmp_path: Path) -> Place:
    return Place(database, store, tmp_path / "scratch")
