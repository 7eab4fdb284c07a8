from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import label_mode_pb2, precision_pb2, vector_pb2
from isogloss.v1.cleaning_pb2 import Cleaning
from services.common import layout
from services.common.storage import ObjectStore
from tests.integration.inference.serving import (
    LONG,
    TIMEOUT,
    Running,
    assert_alike,
    expected_vector,
    token_ids,
    unpacked,
    untimed,
)
from tests.tiny_model import (
    DIMENSION,
    LABELS,
    MAX_TOKENS,
    QUANTISED,
    publish_tiny_base,
    publish_tiny_model,
    tiny_weights,
)


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


async def test_texts_are_cleaned_as_the_model_learnt_them(
    running: Running, store: ObjectStore
) -> None:
    mask = Cleaning.REPLACEMENT_MASK
    publish_tiny_model(store, "default", "clean", cleaning=Cleaning(strip_html=True, urls=mask))
    publish_tiny_model(store, "default", "plain")
    dirty = ["<p>my order is late</p>", "  great https://x.de\u200b", "great [URL]"]
    clean = ["my order is late", "great [URL]", "great [URL]"]

    def embed(model: str, texts: list[str]) -> pb.EmbedRequest:
        return pb.EmbedRequest(model=f"models/{model}", texts=texts)

    def classify(model: str, texts: list[str]) -> pb.ClassifyRequest:
        return pb.ClassifyRequest(model=f"models/{model}", texts=texts)

    cleaned = (await running.stub.Embed(embed("clean", dirty))).results
    expected = (await running.stub.Embed(embed("plain", clean))).results
    as_they_are = (await running.stub.Embed(embed("plain", dirty))).results
    predicted = (await running.stub.Classify(classify("clean", dirty))).results

    assert_alike(cleaned, expected)
    assert as_they_are[0].usage != expected[0].usage
    plain = (await running.stub.Classify(classify("plain", clean))).results
    assert_alike(predicted, plain)


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

    assert response.label_mode == label_mode_pb2.LABEL_MODE_SINGLE
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


async def test_of_several_labels_all_that_reach_their_thresholds_are_given(
    running: Running, store: ObjectStore
) -> None:
    logits = expected_vector(token_ids("great")) @ tiny_weights(labels=3)["head"]
    chances = 1 / (1 + np.exp(-logits.astype(np.float64)))
    given, withheld, equal = chances - 0.01, chances + 0.01, (chances - 0.01).tolist()
    equal[1] = withheld[1]
    for name, thresholds in (("all", given), ("none", withheld), ("two", np.array(equal))):
        publish_tiny_model(store, "default", name, thresholds=thresholds.tolist())

    async def ask(name: str) -> pb.ClassifyResponse:
        request = pb.ClassifyRequest(model=f"models/{name}", texts=["great"])
        return await running.stub.Classify(request)

    answers = {name: await ask(name) for name in ("all", "none", "two")}

    predicted = {
        name: {label.label for label in answer.results[0].classification.predictions}
        for name, answer in answers.items()
    }
    assert predicted == {"all": set(LABELS), "none": set(), "two": {LABELS[0], LABELS[2]}}
    assert answers["none"].label_mode == label_mode_pb2.LABEL_MODE_MULTI
    assert answers["none"].results[0].HasField("classification")
    assert len(answers["none"].results[0].classification.labels) == len(LABELS)


async def test_a_prefix_of_the_model_is_put_before_every_text(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "asked", prefix="my order: ")

    request = pb.EmbedRequest(model="models/asked", texts=["late", LONG])
    late, long = (await running.stub.Embed(request)).results

    ids = token_ids("my order: late")
    np.testing.assert_allclose(unpacked(late), expected_vector(ids), atol=1e-5)
    assert late.usage.token_count == len(ids)
    first, *content, last = token_ids(f"my order: {LONG}")
    kept = [first, *content[: MAX_TOKENS - 2], last]
    np.testing.assert_allclose(unpacked(long), expected_vector(kept), atol=1e-5)


async def test_the_quantised_variant_is_served_to_who_asks_for_it(
    running: Running, store: ObjectStore
) -> None:
    manifest = publish_tiny_model(store, "default", "tone", quantised=True)
    answers = {}
    for precision in (
        precision_pb2.PRECISION_QUANTIZED,
        precision_pb2.PRECISION_EXACT,
        precision_pb2.PRECISION_UNSPECIFIED,
    ):
        request = pb.EmbedRequest(model="models/tone", texts=["great"], precision=precision)
        answers[precision] = await running.stub.Embed(request)

    quantised, exact, unspecified = answers.values()
    assert untimed(exact) == untimed(unspecified)
    assert exact.served_by.precision == precision_pb2.PRECISION_EXACT
    assert exact.served_by.digest == manifest.variants[0].graph.sha256
    assert quantised.served_by.precision == precision_pb2.PRECISION_QUANTIZED
    assert quantised.served_by.digest == manifest.variants[1].graph.sha256
    ids = token_ids("great")
    np.testing.assert_allclose(unpacked(exact.results[0]), expected_vector(ids), atol=1e-5)
    np.testing.assert_allclose(
        unpacked(quantised.results[0]), expected_vector(ids, seed=QUANTISED), atol=1e-5
    )


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
