"""Models come and go under load: no call fails, and each is answered by the model it named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from isogloss.v1 import inference_service_pb2 as pb
from services.common import aliases
from services.common.storage import ObjectStore
from tests.integration.inference.serving import (
    TIMEOUT,
    Running,
    expected_vector,
    serving,
    token_ids,
    unpacked,
    until,
)
from tests.tiny_model import publish_tiny_model

POLL = 0.02
SEEDS = {"one": 0, "two": 1, "three": 2}
TINY_BYTES = 104 * 1024
"""As a tiny model counts, and a bit more."""

TEXT = "order late again"


async def asked(running: Running, model: str) -> str:
    """Embed, see that the answer is the answering model's, and return which that was."""
    response = await running.stub.Embed(pb.EmbedRequest(model=model, texts=[TEXT]))
    served = response.served_by.model.removeprefix("models/")
    expected = expected_vector(token_ids(TEXT), SEEDS[served])
    np.testing.assert_allclose(unpacked(response.results[0]), expected, atol=1e-5)
    return served


async def under_load(call: Callable[[], Awaitable[None]], work: Awaitable[None]) -> None:
    """Let four callers call again and again while `work` is done; no call may fail."""
    stop = asyncio.Event()

    async def caller() -> None:
        while not stop.is_set():
            await call()

    async with asyncio.timeout(2 * TIMEOUT), asyncio.TaskGroup() as callers:
        for _ in range(4):
            callers.create_task(caller())
        await work
        stop.set()


async def test_fifty_switches_fail_no_call(tmp_path: Path, store: ObjectStore) -> None:
    for model, seed in SEEDS.items():
        publish_tiny_model(store, "default", model, seed=seed)
    served: list[str] = []
    wanted: list[str] = []

    def switch(version: int) -> str:
        model = ["one", "two", "three"][version % 3]
        record = AliasRecord(
            format_version=1, version=version, model=f"models/{model}", preload=version % 2 == 0
        )
        assert aliases.add(store, "default", "reviews", record)
        return model

    switch(1)
    # Room for two: the model that a switch brings lets another one go.
    room = 2 * TINY_BYTES
    async with serving(tmp_path, alias_poll_seconds=POLL, model_memory_bytes=room) as running:

        async def call() -> None:
            served.append(await asked(running, "aliases/reviews"))

        async def switches() -> None:
            for version in range(2, 52):
                wanted.append(await asyncio.to_thread(switch, version))
                await until(lambda: served[-1:] == wanted[-1:])

        await under_load(call, switches())

    assert set(served) == set(SEEDS)


async def test_three_models_in_the_room_of_two_fail_no_call(
    tmp_path: Path, store: ObjectStore
) -> None:
    for model, seed in SEEDS.items():
        publish_tiny_model(store, "default", model, seed=seed)
    served: list[str] = []
    turns = iter([*SEEDS] * 1000)

    async with serving(tmp_path, model_memory_bytes=2 * TINY_BYTES) as running:

        async def call() -> None:
            model = next(turns)
            assert await asked(running, f"models/{model}") == model
            served.append(model)

        def swapped() -> bool:
            return len(served) >= 60 and running.models.stats().evictions >= 10

        await under_load(call, until(swapped))
        stats = running.models.stats()

    assert stats.size <= stats.max_size
