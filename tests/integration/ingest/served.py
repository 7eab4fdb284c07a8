"""An ingest server on an S3 store, with settings of the test's choice."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from services.common.server import running_server
from services.ingest.__main__ import build
from services.ingest.settings import IngestSettings
from tests.engines import StoreServer

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub


def settings_on(server: StoreServer | None, directory: Path, **settings: Any) -> IngestSettings:  # noqa: ANN401  # fields of IngestSettings
    """Return settings for a store of the test's own; on a directory where there is no server."""
    if server is not None:
        settings |= {
            "store": server.url("ingest", secrets.token_hex(4)),
            "store_access_key": server.access_key,
            "store_secret_key": server.secret_key,
        }
    return IngestSettings(
        **{
            "address": "127.0.0.1:0",
            "data_directory": directory / "data",
            "poll_seconds": 0.1,
            "upload_part_bytes": 64 << 10,
            "shutdown_grace": 1.0,
            **settings,
        }
    )


@asynccontextmanager
async def served(settings: IngestSettings) -> AsyncIterator[DatasetServiceAsyncStub]:
    async with (
        running_server(build(settings)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield DatasetServiceStub(channel)
