from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import onnxruntime as ort
import pytest
from google.rpc import error_details_pb2

from isogloss.v1 import inference_service_pb2 as pb
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectStore
from services.inference.engine import FloatArray, IntArray
from services.inference.engines.onnx import OnnxEngine
from services.inference.model import Precision
from services.inference.pool import Job, Ticket, WorkerPool
from services.inference.residents import ModelKey
from tests.integration.inference.serving import (
    TIMEOUT,
    Running,
    expected_vector,
    refused,
    serving,
    token_ids,
    unpacked,
    until,
)
from tests.tiny_model import (
    publish_tiny_base,
    publish_tiny_model,
)


class CountingSession:
    """Runs a graph, and counts the texts."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.texts = 0

    def run(self, outputs: list[str], feed: dict[str, IntArray]) -> list[FloatArray]:
        self.texts += len(feed["input_ids"])
        rows: list[FloatArray] = self.session.run(outputs, feed)
        return rows


async def test_callers_at_once_get_their_own_answers(running: Running, store: ObjectStore) -> None:
    publish_tiny_base(store)
    publish_tiny_model(store, "default", "tone", seed=3)

    async def call(number: int) -> None:
        texts = [f"order {number} late" + " again" * (item % 5) for item in range(number % 40 + 1)]
        name, seed = [("baseModels/tiny", 0), ("models/tone", 3)][number % 2]
        response = await running.stub.Embed(pb.EmbedRequest(model=name, texts=texts))
        for text, result in zip(texts, response.results, strict=True):
            ids = token_ids(text)
            np.testing.assert_allclose(unpacked(result), expected_vector(ids, seed), atol=1e-5)

    await asyncio.gather(*[call(number) for number in range(80)])


@asynccontextmanager
async def busy(running: Running, *, workers: int = 2) -> AsyncIterator[None]:
    """Keep all workers from all work until the block ends."""
    pool: WorkerPool = running.dispatcher._pool
    all_wait, free = threading.Barrier(workers + 1), threading.Event()

    def wait() -> None:
        all_wait.wait(TIMEOUT)
        free.wait(TIMEOUT)

    held = Job(
        texts=workers, prepare=lambda: [wait] * workers, finish=lambda: None, ticket=Ticket()
    )
    future = pool.submit(held)
    await asyncio.to_thread(all_wait.wait, TIMEOUT)
    try:
        yield
    finally:
        free.set()
        await asyncio.wrap_future(future)


async def test_too_much_at_once_is_refused_with_a_delay(tmp_path: Path, store: ObjectStore) -> None:
    publish_tiny_base(store)
    request = pb.EmbedRequest(model="baseModels/tiny", texts=["great"])

    async with serving(tmp_path, queue_texts=2) as running:
        await running.stub.Embed(request)
        async with busy(running):
            refusal = await refused(running.stub.Embed(request))
        assert len((await running.stub.Embed(request)).results) == 1

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in refusal.status.details)
    assert retry.retry_delay.ToNanoseconds() > 0


async def test_a_call_without_time_left_is_not_computed(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    request = pb.EmbedRequest(model="baseModels/tiny", texts=["great"])
    await running.stub.Embed(request)

    async with busy(running):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.stub.Embed(request, timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    assert len((await running.stub.Embed(request)).results) == 1


async def test_what_a_caller_left_behind_is_not_computed(
    tmp_path: Path, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    one = pb.EmbedRequest(model="baseModels/tiny", texts=["great"])
    three = pb.EmbedRequest(model="baseModels/tiny", texts=["great"] * 3)

    async with serving(tmp_path, workers=1) as running:
        await running.stub.Embed(one)
        key = ModelKey.of(
            "default", ResourceName(collection=Collection.BASE_MODELS, id="tiny"), Precision.EXACT
        )
        engine: OnnxEngine = running.models.ready(key).engine
        session = engine._session = CountingSession(engine._session)
        async with busy(running, workers=1):
            call = running.stub.Embed(three)
            await until(lambda: running.dispatcher._pool._texts == 4)
            call.cancel()
            await until(lambda: grpc.StatusCode.CANCELLED in running.ended.codes)
        # The one worker came by what was left behind before it came to this.
        assert len((await running.stub.Embed(three)).results) == 3

    assert session.texts == 3
