"""The object store goes down, and a server goes on; also one that starts meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from isogloss.v1 import inference_service_pb2 as pb
from services.common import aliases, layout
from services.common.storage import open_store
from tests.engines import MinioProcess
from tests.integration.inference.serving import Running, refused, serving, until
from tests.tiny_model import publish_tiny_model

POLL = 0.05


@pytest.fixture
def minio_process(tmp_path: Path) -> Iterator[MinioProcess]:
    folder = tmp_path / "minio"
    folder.mkdir()
    process = MinioProcess(folder)
    yield process
    process.stop()


def settings_of(process: MinioProcess) -> dict[str, object]:
    server = process.server
    return {
        "store": server.url("models"),
        "store_access_key": server.access_key,
        "store_secret_key": server.secret_key,
        "alias_poll_seconds": POLL,
    }


async def embedded(running: Running, model: str) -> str:
    response = await running.stub.Embed(pb.EmbedRequest(model=model, texts=["great"]))
    return response.served_by.model


async def test_a_server_outlives_its_store(tmp_path: Path, minio_process: MinioProcess) -> None:
    settings = settings_of(minio_process)
    store = open_store(minio_process.server.url("models"), minio_process.server.options)
    publish_tiny_model(store, "default", "one")
    publish_tiny_model(store, "default", "two", seed=1)
    record = AliasRecord(format_version=1, version=1, model="models/one", preload=True)
    assert aliases.add(store, "default", "reviews", record)

    async with serving(tmp_path, **settings) as running:
        assert await embedded(running, "aliases/reviews") == "models/one"
        assert await embedded(running, "models/two") == "models/two"
        await asyncio.to_thread(minio_process.stop)
        await until(lambda: running.models.stats().outage_seconds is not None)
        assert await embedded(running, "aliases/reviews") == "models/one"

    async with serving(tmp_path, **settings) as running:
        assert running.models.stats().outage_seconds is not None
        await until(running.app.ready)
        for model, served in (("aliases/reviews", "one"), ("models/two", "two")):
            assert await embedded(running, model) == f"models/{served}"
        refusal = await refused(embedded(running, "models/new"))
        assert refusal.code is grpc.StatusCode.UNAVAILABLE

        await asyncio.to_thread(minio_process.start)
        await asyncio.to_thread(store.delete, layout.model_manifest("default", "two"))
        await until(lambda: running.models.stats().outage_seconds is None)
        refusal = await refused(embedded(running, "models/two"))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        assert await embedded(running, "aliases/reviews") == "models/one"
