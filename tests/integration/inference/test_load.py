from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2

from isogloss.v1 import inference_service_pb2 as pb
from services.common.storage import ObjectStore
from services.inference.engine import EngineLimits, FloatArray, Output
from services.inference.model import LabelMode, Model, Precision, Question
from services.inference.scheduling.priority import Priority
from services.inference.scheduling.stats import Shed
from services.inference.tokenization import TextReader, Truncation
from tests.integration.inference.serving import (
    TIMEOUT,
    TOKENIZER,
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


class HeldEngine:
    """Occupies a worker until it is let go."""

    limits = EngineLimits(texts=1, padded_tokens=1, runs=1_024)

    def __init__(self, workers: int) -> None:
        self.all_run = threading.Barrier(workers + 1)
        self.free = threading.Event()

    def run(self, token_ids: object, outputs: object) -> tuple[FloatArray, ...]:  # noqa: ARG002 (the Protocol's)
        self.all_run.wait(TIMEOUT)
        assert self.free.wait(TIMEOUT)
        return (np.zeros((1, 4), np.float32),)


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
    engine = HeldEngine(workers)
    held = held_model(engine)
    question = Question(
        texts=["great"] * workers,
        truncation=Truncation.END,
        outputs=(Output.EMBEDDING,),
        priority=Priority.INTERACTIVE,
        caller="somebody",
        remaining=None,
        each=False,
    )
    call = running.dispatcher.submit(held, question, lambda computed: computed)
    await asyncio.to_thread(engine.all_run.wait, TIMEOUT)
    try:
        yield
    finally:
        engine.free.set()
        await asyncio.wrap_future(call.future)


def held_model(engine: HeldEngine) -> Model:
    return Model(
        name="models/held",
        precision=Precision.EXACT,
        digest="held",
        dimension=4,
        max_tokens=16,
        labels=(),
        label_mode=LabelMode.SINGLE,
        thresholds=(),
        cleaner=None,
        reader=TextReader(TOKENIZER.to_str().encode(), max_tokens=16),
        engine=engine,
    )


def waiting(running: Running) -> int:
    return running.dispatcher.stats().waiting[Priority.INTERACTIVE].texts


async def test_too_much_at_once_is_refused_with_a_delay(tmp_path: Path, store: ObjectStore) -> None:
    publish_tiny_base(store)
    request = pb.EmbedRequest(model="baseModels/tiny", texts=["great"])

    async with serving(tmp_path, queue_tokens=8) as running:
        await running.stub.Embed(request)
        async with busy(running):
            # An empty queue takes any call, this one its second text no more.
            taken = asyncio.ensure_future(running.stub.Embed(request))
            await until(lambda: waiting(running) == 1)
            refusal = await refused(
                running.stub.Embed(pb.EmbedRequest(model="baseModels/tiny", texts=["great"] * 4))
            )
        assert len((await taken).results) == 1

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in refusal.status.details)
    assert retry.retry_delay.ToNanoseconds() > 0
    assert refusal.pushback is not None
    assert int(refusal.pushback) >= retry.retry_delay.ToMilliseconds()


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
    three = pb.EmbedRequest(model="baseModels/tiny", texts=["great"] * 3)

    async with serving(tmp_path, workers=1) as running:
        await running.stub.Embed(three)
        async with busy(running, workers=1):
            computed = running.dispatcher.stats().texts
            call = running.stub.Embed(three)
            await until(lambda: waiting(running) == 3)
            call.cancel()
            await until(lambda: grpc.StatusCode.CANCELLED in running.ended.codes)
        # The one worker came by what was left behind before it came to this.
        assert len((await running.stub.Embed(three)).results) == 3
        # A worker answers before it counts.
        await until(lambda: running.dispatcher.stats().running == 0)
        stats = running.dispatcher.stats()

    held, last = 1, 3
    assert stats.texts == computed + held + last
    assert stats.shed[Shed.GIVEN_UP] == 1
