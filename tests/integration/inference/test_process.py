from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from isogloss.v1 import inference_service_pb2 as pb
from services.common.storage import ObjectStore
from services.inference.scheduling.stats import Shed
from tests.integration.inference.serving import (
    Running,
    assert_alike,
    expected_vector,
    serving,
    token_ids,
    unpacked,
    until,
)
from tests.tiny_model import publish_tiny_base, publish_tiny_model

TEXTS = ["my order is late", "great", "where is my refund"]


def embed(number: int, *texts: str) -> pb.ProcessRequest:
    return pb.ProcessRequest(
        id=str(number), embed=pb.EmbedRequest(model="baseModels/tiny", texts=texts)
    )


async def answers(
    running: Running, requests: list[pb.ProcessRequest]
) -> dict[str, pb.ProcessResponse]:
    found = {}
    async for response in running.stub.Process(iter(requests)):
        assert response.id not in found
        found[response.id] = response
    return found


async def test_each_kind_of_request_has_the_answer_of_its_method(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "tone")
    vectors = pb.EmbedRequest(model="models/tone", texts=TEXTS)
    labels = pb.ClassifyRequest(model="models/tone", texts=TEXTS, top_k=1)
    both = pb.EmbedAndClassifyRequest(model="models/tone", texts=TEXTS)

    found = await answers(
        running,
        [
            pb.ProcessRequest(id="v", embed=vectors),
            pb.ProcessRequest(id="l", classify=labels),
            pb.ProcessRequest(id="b", embed_and_classify=both),
        ],
    )

    stub = running.stub
    assert_alike(found["v"].embed.results, (await stub.Embed(vectors)).results)
    assert_alike(found["l"].classify.results, (await stub.Classify(labels)).results)
    alone = await stub.EmbedAndClassify(both)
    assert_alike(found["b"].embed_and_classify.results, alone.results)
    assert found["b"].embed_and_classify.timings.HasField("queue")


async def test_neither_a_bad_request_nor_a_bad_text_ends_the_stream(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    publish_tiny_model(store, "default", "tone")
    bad = {
        "no-model": pb.ProcessRequest(embed=pb.EmbedRequest(model="models/none", texts=["great"])),
        "no-head": pb.ProcessRequest(
            classify=pb.ClassifyRequest(model="baseModels/tiny", texts=["great"])
        ),
        "wrong": pb.ProcessRequest(
            classify=pb.ClassifyRequest(model="models/tone", texts=["great"], top_k=-1)
        ),
        "nothing": pb.ProcessRequest(),
    }
    for name, request in bad.items():
        request.id = name
    none = embed(1, "great", "", "my order " * 20, " \t")
    none.embed.truncation = pb.TRUNCATION_NONE

    found = await answers(running, [*bad.values(), none, embed(2, "great")])

    codes = {name: found[name].error.code for name in bad}
    assert codes == {
        "no-model": grpc.StatusCode.NOT_FOUND.value[0],
        "no-head": grpc.StatusCode.FAILED_PRECONDITION.value[0],
        "wrong": grpc.StatusCode.INVALID_ARGUMENT.value[0],
        "nothing": grpc.StatusCode.INVALID_ARGUMENT.value[0],
    }
    assert "classify" in found["nothing"].error.message
    outcomes = [result.WhichOneof("outcome") for result in found["1"].embed.results]
    assert outcomes == ["vector", "error", "error", "error"]
    words = [result.error.message for result in found["1"].embed.results]
    assert "texts[1]: is empty" in words[1]
    assert "texts[2]: has 42 tokens" in words[2]
    assert_alike(found["2"].embed.results, found["1"].embed.results[:1])


@pytest.mark.parametrize("request_id", ["", "x" * 129])
async def test_an_answer_must_be_known_again(
    running: Running, store: ObjectStore, request_id: str
) -> None:
    publish_tiny_base(store)
    request = embed(0, "great")
    request.id = request_id

    (found,) = (await answers(running, [request])).values()

    assert found.error.message.startswith("id: ")
    assert found.id == request_id[:128]


async def test_a_hundred_thousand_texts_are_answered_each_once(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    words = ("great", "late", "refund", "order", "my", "box", "help", "money")
    expected = np.stack([expected_vector(token_ids(word)) for word in words])
    done = np.zeros(100_000 // 500, bool)

    async def requests() -> AsyncIterator[pb.ProcessRequest]:
        for number in range(len(done)):
            yield embed(number, *(words[(number + item) % 8] for item in range(500)))

    async for response in running.stub.Process(requests()):
        number = int(response.id)
        assert not done[number]
        done[number] = True
        rows = np.stack([unpacked(result) for result in response.embed.results])
        np.testing.assert_allclose(rows, expected[(number + np.arange(500)) % 8], atol=1e-5)

    assert done.all()


async def test_a_caller_that_goes_leaves_nothing_behind(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    sent = 0

    async def endless() -> AsyncIterator[pb.ProcessRequest]:
        nonlocal sent
        while True:
            sent += 1
            yield embed(sent, "great")

    call = running.stub.Process(endless())
    async for _ in call:
        call.cancel()
        break
    await until(lambda: bool(running.ended.codes))

    assert running.ended.codes == [grpc.StatusCode.CANCELLED]
    assert len((await running.stub.Embed(embed(0, "great").embed)).results) == 1


async def test_a_reader_that_stops_holds_its_own_stream_up_only(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    sent = 0

    async def many() -> AsyncIterator[pb.ProcessRequest]:
        nonlocal sent
        for number in range(20_000):
            sent += 1
            yield embed(number, *TEXTS * 10)

    call = running.stub.Process(many())
    held = -1
    while held != sent:
        held = sent
        await asyncio.sleep(0.2)

    assert held < 20_000
    assert len((await running.stub.Embed(embed(0, "great").embed)).results) == 1
    call.cancel()


async def test_a_server_with_much_to_do_makes_a_stream_wait(
    tmp_path: Path, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    requests = [embed(number, *TEXTS * 40) for number in range(40)]

    async with serving(tmp_path, queue_tokens=600) as running:
        two = await asyncio.gather(answers(running, requests), answers(running, requests))
        shed = running.dispatcher.stats().shed

    for found in two:
        assert len(found) == 40
        assert all(len(answer.embed.results) == 120 for answer in found.values())
    # They were refused in there, more than once, and asked again.
    assert shed[Shed.QUEUE_FULL] > 0
