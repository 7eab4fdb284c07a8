from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import vector_pb2
from services.common.storage import ObjectStore
from tests.integration.inference.serving import (
    Running,
    assert_alike,
    expected_vector,
    refused,
    token_ids,
    unpacked,
    untimed,
)
from tests.tiny_model import DIMENSION, publish_tiny_base, publish_tiny_model

TEXTS = ["my order is late", "great", "where is my refund"]


def request(**changes: Any) -> pb.EmbedRequest:  # noqa: ANN401 (fields of the request)
    return pb.EmbedRequest(model="models/tone", texts=TEXTS, **changes)


async def test_numbers_come_in_the_type_that_is_asked_for(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "tone", vector_range=1.0)
    expected = np.stack([expected_vector(token_ids(text)) for text in TEXTS])

    async def ask(vector_type: vector_pb2.VectorType.ValueType, dtype: str) -> np.ndarray:
        response = await running.stub.Embed(request(vector_type=vector_type))
        assert (response.dimension, response.vector_type) == (DIMENSION, vector_type)
        rows = [np.frombuffer(result.vector.packed, dtype) for result in response.results]
        return np.stack(rows) * (response.step or 1)

    half = await ask(vector_pb2.VECTOR_TYPE_FLOAT16, "<f2")
    small = await ask(vector_pb2.VECTOR_TYPE_INT8, "i1")
    bits = await ask(vector_pb2.VECTOR_TYPE_UBINARY, "u1")

    np.testing.assert_allclose(half, expected, atol=1e-3)
    np.testing.assert_allclose(small, expected, atol=0.5 / 127 + 1e-5)
    np.testing.assert_array_equal(np.unpackbits(bits.astype(np.uint8), axis=1), expected > 0)


async def test_vectors_are_cut_where_the_model_was_trained_to_be(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "tone", matryoshka_dimensions=[4, 8])

    response = await running.stub.Embed(request(dimensions=8))

    assert response.dimension == 8
    for text, result in zip(TEXTS, response.results, strict=True):
        kept = expected_vector(token_ids(text))[:8]
        np.testing.assert_allclose(unpacked(result), kept / np.linalg.norm(kept), atol=1e-5)


async def test_what_the_model_cannot_give_is_refused_by_name(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "tone")

    refusal = await refused(
        running.stub.Embed(request(vector_type=vector_pb2.VECTOR_TYPE_INT8, dimensions=8))
    )

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "VECTOR_UNAVAILABLE"
    assert refusal.fields == ["dimensions", "vector_type"]
    assert "force_dimensions" in refusal.message


async def test_one_pass_gives_what_two_calls_give(running: Running, store: ObjectStore) -> None:
    publish_tiny_model(store, "default", "tone")

    both = await running.stub.EmbedAndClassify(
        pb.EmbedAndClassifyRequest(model="models/tone", texts=TEXTS, top_k=2)
    )

    vectors = await running.stub.Embed(request())
    labels = await running.stub.Classify(
        pb.ClassifyRequest(model="models/tone", texts=TEXTS, top_k=2)
    )
    assert_alike(vectors.results, both.results)
    assert_alike(labels.results, both.results)
    assert both.timings.HasField("load")
    assert not vectors.timings.HasField("load")
    assert vectors.timings.infer.ToNanoseconds() > 0
    assert untimed(both).served_by == vectors.served_by


async def test_a_base_has_no_labels_to_give_with_its_vectors(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)

    refusal = await refused(
        running.stub.EmbedAndClassify(
            pb.EmbedAndClassifyRequest(model="baseModels/tiny", texts=TEXTS)
        )
    )

    assert refusal.reason == "MODEL_HAS_NO_HEAD"


@pytest.mark.parametrize("several", [False, True])
async def test_a_caller_decides_from_when_on_to_predict(
    running: Running, store: ObjectStore, *, several: bool
) -> None:
    publish_tiny_model(store, "default", "tone", thresholds=[0.5] * 3 if several else ())

    async def ask(**changes: Any) -> pb.Classification:  # noqa: ANN401 (fields of the request)
        asked = pb.ClassifyRequest(model="models/tone", texts=["great"], raw_scores=True, **changes)
        return (await running.stub.Classify(asked)).results[0].classification

    usual, never = await ask(), await ask(abstain_below=1.0)

    assert usual.predictions
    assert not usual.abstained
    assert (never.abstained, list(never.predictions)) == (True, [])
    logits = [label.raw_score for label in usual.labels]
    assert logits == sorted(logits, reverse=True)
    if several:
        assert len((await ask(threshold=0.0)).predictions) == 3
    else:
        with pytest.raises(grpc.aio.AioRpcError, match="threshold"):
            await ask(threshold=0.0)
