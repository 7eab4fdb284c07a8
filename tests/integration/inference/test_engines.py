from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import grpc
import numpy as np
import psutil

from isogloss.v1 import inference_service_pb2 as pb
from services.common.storage import ObjectStore
from tests.endless_graph import ENDLESS_WORD, endless_graph
from tests.integration.inference.serving import (
    Running,
    expected_vector,
    refused,
    serving,
    token_ids,
    unpacked,
    until,
)
from tests.tiny_model import publish_tiny_base

TINY = pb.EmbedRequest(model="baseModels/tiny", texts=["great"])
ENDLESS = pb.EmbedRequest(model="baseModels/endless", texts=[ENDLESS_WORD])


def engine_processes() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if "services.inference.engines.worker" in child.cmdline()
    ]


def cpu_seconds(processes: list[psutil.Process]) -> dict[int, float]:
    return {process.pid: process.cpu_times().user for process in processes}


async def busy_process(running: Running) -> tuple[int, asyncio.Future[pb.EmbedResponse]]:
    """Keep one engine busy for ever; return its process id and the call."""
    processes = engine_processes()
    before = cpu_seconds(processes)
    call = asyncio.ensure_future(running.stub.Embed(ENDLESS))

    def busy() -> list[int]:
        used = cpu_seconds(processes)
        return [pid for pid in before if used[pid] > before[pid] + 0.1]

    await until(lambda: bool(busy()))
    (pid,) = busy()
    return pid, call


async def test_an_engine_that_is_killed_fails_only_what_it_was_computing(
    tmp_path: Path, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    publish_tiny_base(store, "endless", graph=endless_graph(), dimension=1)
    enough = asyncio.Event()
    answered = 0

    async def keep_calling() -> None:
        nonlocal answered
        while not enough.is_set():
            response = await running.stub.Embed(TINY)
            expected = expected_vector(token_ids("great"))
            np.testing.assert_allclose(unpacked(response.results[0]), expected, atol=1e-5)
            answered += 1

    async with serving(tmp_path, engines=2) as running:
        await running.stub.Embed(TINY)
        await running.stub.Embed(pb.EmbedRequest(model=ENDLESS.model, texts=["great"]))
        await until(lambda: len(engine_processes()) == 2)
        killed, stuck = await busy_process(running)
        (other,) = {process.pid for process in engine_processes()} - {killed}
        async with asyncio.TaskGroup() as callers:
            for _ in range(8):
                callers.create_task(keep_calling())
            await until(lambda: answered > 100)
            os.kill(killed, signal.SIGKILL)
            refusal = await refused(stuck)
            await until(lambda: len(engine_processes()) == 2)
            await until(lambda: answered > 1000)
            enough.set()
        # Now the one that came back has to answer.
        os.kill(other, signal.SIGKILL)
        assert len((await running.stub.Embed(TINY)).results) == 1

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "DEPENDENCY_UNAVAILABLE",
    )
    assert "started again" in refusal.message


async def test_a_service_whose_only_engine_was_killed_says_so_until_it_is_back(
    tmp_path: Path, store: ObjectStore
) -> None:
    publish_tiny_base(store)

    async with serving(tmp_path, engines=1) as running:
        await running.stub.Embed(TINY)
        (process,) = engine_processes()
        process.kill()
        await until(lambda: not running.app.ready())
        # It waits for the engine instead of failing.
        assert len((await running.stub.Embed(TINY)).results) == 1
        assert running.app.ready()
        assert [other.pid for other in engine_processes()] != [process.pid]
