from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from isogloss.v1 import inference_service_pb2 as pb
from services.common import aliases, layout
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectStore
from services.inference.model import Precision
from services.inference.residents import ModelKey
from tests.integration.inference.serving import (
    TIMEOUT,
    Running,
    refused,
    serving,
    until,
    untimed,
)
from tests.tiny_model import publish_tiny_model

NAME = "aliases/reviews"
POLL = 0.05


def switch(store: ObjectStore, version: int, model: str, *, preload: bool = False) -> None:
    """Write what a switch of the trainer writes."""
    record = AliasRecord(
        format_version=1, version=version, model=f"models/{model}", preload=preload
    )
    assert aliases.add(store, "default", "reviews", record)


def embed(model: str = NAME) -> pb.EmbedRequest:
    return pb.EmbedRequest(model=model, texts=["great"])


def classify(model: str = NAME) -> pb.ClassifyRequest:
    return pb.ClassifyRequest(model=model, texts=["great"])


async def test_an_alias_may_stand_wherever_a_model_may(
    running: Running, store: ObjectStore
) -> None:
    manifest = publish_tiny_model(store, "default", "one")
    switch(store, 1, "one")

    embedded = await running.stub.Embed(embed())
    classified = await running.stub.Classify(classify())

    assert untimed(embedded) == untimed(await running.stub.Embed(embed("models/one")))
    assert untimed(classified) == untimed(await running.stub.Classify(classify("models/one")))
    assert embedded.served_by.model == classified.served_by.model == "models/one"
    assert embedded.served_by.digest == manifest.variants[0].graph.sha256


async def test_a_hot_switch_fails_no_call(tmp_path: Path, store: ObjectStore) -> None:
    publish_tiny_model(store, "default", "one")
    publish_tiny_model(store, "default", "two", seed=1)
    switch(store, 1, "one", preload=True)
    served: list[str] = []
    stop = asyncio.Event()

    async with serving(tmp_path, alias_poll_seconds=POLL) as running:

        async def call() -> None:
            while not stop.is_set():
                served.append((await running.stub.Embed(embed())).served_by.model)

        async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as callers:
            for _ in range(4):
                callers.create_task(call())
            await until(lambda: len(served) > 20)
            switch(store, 2, "two", preload=True)
            # Deleted at once, as a hasty owner may.
            store.delete(layout.model_manifest("default", "one"))
            await until(lambda: served[-1] == "models/two")
            stop.set()

    assert set(served) == {"models/one", "models/two"}


async def test_a_preloaded_model_is_loaded_when_the_server_starts(
    tmp_path: Path, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "one")
    publish_tiny_model(store, "default", "idle")
    switch(store, 1, "one", preload=True)

    async with serving(tmp_path, alias_poll_seconds=POLL) as running:
        models = running.models

        def holds(model: str) -> bool:
            name = ResourceName(collection=Collection.MODELS, id=model)
            return bool(models.holds(ModelKey.of("default", name, Precision.EXACT)))

        await until(lambda: holds("one"))
        assert not holds("idle")


@pytest.mark.parametrize("deleted", ["alias", "model"])
async def test_what_is_broken_is_told_clearly(
    running: Running, store: ObjectStore, deleted: str
) -> None:
    publish_tiny_model(store, "default", "one")
    switch(store, 1, "one")
    if deleted == "model":
        store.delete(layout.model_manifest("default", "one"))
    else:
        assert aliases.add(store, "default", "reviews", AliasRecord(format_version=1, version=2))

    refusal = await refused(running.stub.Classify(classify()))

    if deleted == "model":
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "ALIAS_BROKEN",
        )
        assert "aliases/reviews stands for models/one" in refusal.message
    else:
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.NOT_FOUND,
            "RESOURCE_NOT_FOUND",
        )
        assert "isogloss aliases rollback aliases/reviews" in refusal.message


async def test_an_alias_that_never_was_is_not_found(running: Running) -> None:
    refusal = await refused(running.stub.Embed(embed()))

    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert "isogloss aliases list" in refusal.message
