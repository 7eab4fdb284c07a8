"""The inference service as its callers see it: a real server, real stubs, a real graph."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import onnxruntime as ort
import pytest
from google.rpc import error_details_pb2, status_pb2

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import precision_pb2, vector_pb2
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub
from services.common import layout
from services.common.names import Collection, ResourceName
from services.common.server import Application, running_server
from services.common.storage import ObjectStore, open_store
from services.inference.__main__ import build
from services.inference.devices import DeviceWish
from services.inference.engine import FloatArray, IntArray, OnnxEngine
from services.inference.model import Precision
from services.inference.models import ModelKey
from services.inference.pool import Job, Ticket, WorkerPool
from services.inference.settings import InferenceSettings
from tests.tiny_model import (
    DIMENSION,
    LABELS,
    MAX_TOKENS,
    publish_tiny_base,
    publish_tiny_model,
    tiny_tokenizer,
    tiny_weights,
)

if TYPE_CHECKING:
    from isogloss.v1.inference_service_pb2_grpc import InferenceServiceAsyncStub

TIMEOUT = 30.0
TOKENIZER = tiny_tokenizer()
TOKENIZER.no_padding()
TOKENIZER.no_truncation()

LONG = "order late again and again my refund never arrived why do you charge me twice for it"


class Ended:
    """The calls that ended, from the server's side."""

    def __init__(self) -> None:
        self.codes: list[grpc.StatusCode] = []

    def observe(self, *, method: str, code: grpc.StatusCode, seconds: float) -> None:  # noqa: ARG002 (the Protocol's)
        self.codes.append(code)


class CountingSession:
    """Runs a graph, and counts the texts."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.texts = 0

    def run(self, outputs: list[str], feed: dict[str, IntArray]) -> list[FloatArray]:
        self.texts += len(feed["input_ids"])
        rows: list[FloatArray] = self.session.run(outputs, feed)
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    stub: InferenceServiceAsyncStub
    app: Application
    ended: Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    code: grpc.StatusCode
    message: str
    reason: str
    fields: list[str]
    status: status_pb2.Status


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


@asynccontextmanager
async def serving(tmp_path: Path, **changes: object) -> AsyncIterator[Running]:
    settings = InferenceSettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "data_directory": tmp_path,
            "device": DeviceWish.CPU,
            "workers": 2,
            **changes,
        }
    )
    ended = Ended()
    app = replace(build(settings), observers=[ended])
    async with (
        running_server(app) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Running(stub=InferenceServiceStub(channel), app=app, ended=ended)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(tmp_path) as found:
        yield found


async def refused(call: Awaitable[object]) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    assert info.domain == "isogloss"
    return Refusal(
        code=caught.value.code(),
        message=caught.value.details() or "",
        reason=info.reason,
        fields=[violation.field for violation in bad.field_violations],
        status=status,
    )


def expected_vector(ids: list[int], seed: int = 0) -> FloatArray:
    vectors = tiny_weights(labels=0, seed=seed)["vectors"][ids].astype(np.float64)
    total = vectors.sum(axis=0)
    unit: FloatArray = (total / np.linalg.norm(total)).astype(np.float32)
    return unit


def token_ids(text: str) -> list[int]:
    ids: list[int] = TOKENIZER.encode(text).ids
    return ids


def unpacked(result: pb.EmbedResult) -> FloatArray:
    return np.frombuffer(result.vector.packed, "<f4")


async def test_embed_returns_a_vector_for_each_text_in_order(
    running: Running, store: ObjectStore
) -> None:
    manifest = publish_tiny_base(store)
    texts = ["my order is late", "great", "where is my refund , please help me", "great"]

    response = await running.stub.Embed(pb.EmbedRequest(model="baseModels/tiny", texts=texts))

    assert (response.dimension, response.vector_type) == (
        DIMENSION,
        vector_pb2.VECTOR_TYPE_FLOAT32,
    )
    assert response.served_by.model == "baseModels/tiny"
    assert response.served_by.digest == manifest.variants[0].graph.sha256
    for text, result in zip(texts, response.results, strict=True):
        np.testing.assert_allclose(unpacked(result), expected_vector(token_ids(text)), atol=1e-5)
        assert result.usage == pb.TextUsage(token_count=len(token_ids(text)), truncated=False)


async def test_a_list_is_sent_where_it_is_asked_for(running: Running, store: ObjectStore) -> None:
    publish_tiny_base(store)
    request = pb.EmbedRequest(model="baseModels/tiny", texts=["great"], as_list=True)

    (result,) = (await running.stub.Embed(request)).results

    assert result.vector.WhichOneof("values") == "floats"
    np.testing.assert_allclose(
        result.vector.floats.values, expected_vector(token_ids("great")), atol=1e-5
    )


async def test_classify_tells_labels_with_calibrated_confidences(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "tone")
    texts = ["my order is late", "great"]

    response = await running.stub.Classify(pb.ClassifyRequest(model="models/tone", texts=texts))

    assert response.label_mode == pb.LABEL_MODE_SINGLE
    for text, result in zip(texts, response.results, strict=True):
        logits = expected_vector(token_ids(text)) @ tiny_weights(labels=3)["head"]
        probabilities = np.exp(logits) / np.exp(logits).sum()
        order = np.argsort(-probabilities)
        found = result.classification
        assert [label.label for label in found.labels] == [LABELS[index] for index in order]
        np.testing.assert_allclose(
            [label.confidence for label in found.labels], probabilities[order], atol=1e-4
        )
        assert list(found.predictions) == [found.labels[0]]


async def test_top_k_cuts_the_labels(running: Running, store: ObjectStore) -> None:
    publish_tiny_model(store, "default", "tone")
    request = pb.ClassifyRequest(model="models/tone", texts=["great"], top_k=1)

    (result,) = (await running.stub.Classify(request)).results

    assert len(result.classification.labels) == 1


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        (pb.TRUNCATION_UNSPECIFIED, slice(0, MAX_TOKENS - 2)),
        (pb.TRUNCATION_END, slice(0, MAX_TOKENS - 2)),
        (pb.TRUNCATION_START, slice(-(MAX_TOKENS - 2), None)),
    ],
)
async def test_a_long_text_is_cut_where_the_caller_says(
    running: Running, store: ObjectStore, truncation: pb.Truncation.ValueType, kept: slice
) -> None:
    publish_tiny_base(store)
    request = pb.EmbedRequest(model="baseModels/tiny", texts=[LONG], truncation=truncation)

    (result,) = (await running.stub.Embed(request)).results

    first, *content, last = token_ids(LONG)
    np.testing.assert_allclose(
        unpacked(result), expected_vector([first, *content[kept], last]), atol=1e-5
    )
    assert result.usage == pb.TextUsage(token_count=MAX_TOKENS, truncated=True)


async def test_with_truncation_none_every_long_text_is_named(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    request = pb.EmbedRequest(
        model="baseModels/tiny",
        texts=[LONG, "great", LONG],
        truncation=pb.TRUNCATION_NONE,
    )

    refusal = await refused(running.stub.Embed(request))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "TEXT_TOO_LONG"
    assert refusal.fields == ["texts[0]", "texts[2]"]
    assert f"has {len(token_ids(LONG))} tokens" in refusal.message
    assert f"takes {MAX_TOKENS}" in refusal.message


async def test_huge_texts_are_refused_without_being_counted_to_their_end(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    huge = "order late " * 11_000
    request = pb.EmbedRequest(
        model="baseModels/tiny", texts=[huge] * 4, truncation=pb.TRUNCATION_NONE
    )

    refusal = await refused(running.stub.Embed(request))

    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in refusal.status.details)
    descriptions = [violation.description for violation in bad.field_violations]
    assert [text.startswith("has 22002 tokens") for text in descriptions] == [1, 1, 0, 0]
    assert all(text.startswith("has more than") for text in descriptions[2:])


async def test_a_vector_does_not_depend_on_its_neighbours(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store, max_tokens=200)
    texts = [" ".join(["late", "order", "great"][: 1 + n % 3] * (1 + n % 31)) for n in range(200)]

    together = await running.stub.Embed(pb.EmbedRequest(model="baseModels/tiny", texts=texts))

    for text, result in list(zip(texts, together.results, strict=True))[::7]:
        request = pb.EmbedRequest(model="baseModels/tiny", texts=[text])
        (alone,) = (await running.stub.Embed(request)).results
        assert float(unpacked(result) @ unpacked(alone)) >= 0.99999


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


async def test_everything_wrong_with_a_request_is_told_at_once(running: Running) -> None:
    request = pb.ClassifyRequest(
        model="tone",
        texts=["fine", "", "x" * (128 * 1024 + 1)],
        truncation=77,  # type: ignore[arg-type] # what a newer client may send
        top_k=-2,
    )

    refusal = await refused(running.stub.Classify(request))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == ["model", "texts[1]", "texts[2]", "truncation", "top_k"]
    assert "models/tone" in refusal.message


async def test_ten_thousand_texts_are_refused(running: Running) -> None:
    request = pb.EmbedRequest(model="models/tone", texts=["great"] * 10_000)

    refusal = await refused(running.stub.Embed(request))

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "LIMIT_EXCEEDED",
    )
    assert "takes 512" in refusal.message


async def test_an_answer_over_four_mebibytes_is_refused_before_it_is_computed(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "wide", labels=[f"label {n:04}" for n in range(1000)])
    request = pb.ClassifyRequest(model="models/wide", texts=["great"] * 512)

    refusal = await refused(running.stub.Classify(request))

    assert refusal.reason == "LIMIT_EXCEEDED"
    assert "at most" in refusal.message
    request.top_k = 100
    assert len((await running.stub.Classify(request)).results) == 512


async def test_an_unknown_model_is_not_found(running: Running) -> None:
    refusal = await refused(
        running.stub.Embed(pb.EmbedRequest(model="models/none", texts=["great"]))
    )

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert "isogloss models list" in refusal.message


async def test_a_model_that_trains_is_not_ready(running: Running, store: ObjectStore) -> None:
    store.put(layout.model_pending("default", "tone"), b"{}")

    refusal = await refused(
        running.stub.Classify(pb.ClassifyRequest(model="models/tone", texts=["great"]))
    )

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "MODEL_NOT_READY",
    )
    assert "isogloss models show models/tone" in refusal.message


async def test_a_base_does_not_classify(running: Running, store: ObjectStore) -> None:
    publish_tiny_base(store)

    refusal = await refused(
        running.stub.Classify(pb.ClassifyRequest(model="baseModels/tiny", texts=["great"]))
    )

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "MODEL_HAS_NO_HEAD",
    )


async def test_a_precision_that_is_not_there_is_refused(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)

    refusal = await refused(
        running.stub.Embed(
            pb.EmbedRequest(
                model="baseModels/tiny",
                texts=["great"],
                precision=precision_pb2.PRECISION_QUANTIZED,
            )
        )
    )

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "PRECISION_UNAVAILABLE",
    )


async def test_a_damaged_file_is_data_loss(running: Running, store: ObjectStore) -> None:
    graph = publish_tiny_base(store).variants[0].graph
    whole = b"".join(store.get(graph.key))
    store.put(graph.key, whole[:-1] + b"\xff")

    refusal = await refused(
        running.stub.Embed(pb.EmbedRequest(model="baseModels/tiny", texts=["great"]))
    )

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.DATA_LOSS, "ARTIFACT_CORRUPT")


async def test_tenants_see_their_own_models_only(tmp_path: Path, store: ObjectStore) -> None:
    publish_tiny_model(store, "acme", "tone")
    publish_tiny_base(store)
    keys = tmp_path / "keys.toml"
    keys.write_text(
        "\n".join(
            f'[[keys]]\nsha256 = "{hashlib.sha256(tenant.encode()).hexdigest()}"\n'
            f'tenant = "{tenant}"\nrole = "read"\nname = "{tenant}"'
            for tenant in ("acme", "rival")
        )
    )
    request = pb.EmbedRequest(model="models/tone", texts=["great"])
    base_request = pb.EmbedRequest(model="baseModels/tiny", texts=["great"])

    async with serving(tmp_path, api_keys_file=keys) as running:
        acme = (("authorization", "Bearer acme"),)
        rival = (("authorization", "Bearer rival"),)
        assert len((await running.stub.Embed(request, metadata=acme)).results) == 1
        refusal = await refused(running.stub.Embed(request, metadata=rival))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        assert len((await running.stub.Embed(base_request, metadata=rival)).results) == 1
        refusal = await refused(running.stub.Embed(request))
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 (the server's state has no event to wait for)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def busy(running: Running, *, workers: int = 2) -> AsyncIterator[None]:
    """Keep all workers from all work until the block ends."""
    pool: WorkerPool = running.app.services[0].servicer._pool
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
        engine: OnnxEngine = running.app.services[0].servicer._models.ready(key).engine
        session = engine._session = CountingSession(engine._session)
        async with busy(running, workers=1):
            call = running.stub.Embed(three)
            await until(lambda: running.app.services[0].servicer._pool._texts == 4)
            call.cancel()
            await until(lambda: grpc.StatusCode.CANCELLED in running.ended.codes)
        # The one worker came by what was left behind before it came to this.
        assert len((await running.stub.Embed(three)).results) == 3

    assert session.texts == 3


async def test_a_deleted_model_is_noticed(running: Running, store: ObjectStore) -> None:
    publish_tiny_model(store, "default", "tone")
    request = pb.EmbedRequest(model="models/tone", texts=["great"])
    await running.stub.Embed(request)

    store.delete(layout.model_manifest("default", "tone"))

    async def gone() -> None:
        while True:
            try:
                await running.stub.Embed(request)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.NOT_FOUND  # noqa: PT017 (any other is wrong)
                return
            await asyncio.sleep(0.1)

    await asyncio.wait_for(gone(), TIMEOUT)
