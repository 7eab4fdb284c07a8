from __future__ import annotations

import grpc
import numpy as np
import pytest

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import input_type_pb2
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.precision_pb2 import PRECISION_QUANTIZED
from services.common.storage import ObjectStore
from services.inference.model import Precision
from tests.integration.inference.serving import (
    LONG,
    TOKENIZER,
    Running,
    expected_vector,
    refused,
    token_ids,
    unpacked,
)
from tests.tiny_model import MAX_TOKENS, publish_tiny_base, publish_tiny_model


async def tokens(running: Running, request: pb.TokenizeRequest) -> list[pb.TokenizeResult]:
    return list((await running.stub.Tokenize(request)).results)


async def test_tokens_are_shown_as_the_model_reads_them(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    request = pb.TokenizeRequest(model="baseModels/tiny", texts=["My orderly refund!", "great"])

    response = await running.stub.Tokenize(request)

    assert (response.model, response.max_tokens) == ("baseModels/tiny", MAX_TOKENS)
    for text, result in zip(request.texts, response.results, strict=True):
        assert result.ids == token_ids(text)
        assert result.tokens == TOKENIZER.encode(text).tokens
        assert (result.token_count, result.truncated) == (len(result.ids), False)
        assert not result.spans
        assert not result.text


async def test_whichever_variant_is_in_memory_shows_tokens(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "tone", quantised=True)
    embed = pb.EmbedRequest(model="models/tone", texts=["great"], precision=PRECISION_QUANTIZED)
    await running.stub.Embed(embed)

    await running.stub.Tokenize(pb.TokenizeRequest(model="models/tone", texts=["great"]))

    (resident,) = running.models.stats().residents
    assert resident.key.precision is Precision.QUANTIZED


@pytest.mark.parametrize("truncation", [pb.TRUNCATION_END, pb.TRUNCATION_START])
async def test_what_is_left_out_is_what_embed_leaves_out(
    running: Running, store: ObjectStore, truncation: pb.Truncation.ValueType
) -> None:
    publish_tiny_base(store)
    asked = {"model": "baseModels/tiny", "texts": [LONG], "truncation": truncation}

    (cut,) = await tokens(running, pb.TokenizeRequest(**asked))  # type: ignore[arg-type] # fields of both
    (vector,) = (await running.stub.Embed(pb.EmbedRequest(**asked))).results  # type: ignore[arg-type] # as above
    whole = pb.TokenizeRequest(model="baseModels/tiny", texts=[LONG], truncation=pb.TRUNCATION_NONE)
    (everything,) = await tokens(running, whole)

    assert (len(cut.ids), cut.truncated) == (MAX_TOKENS, True)
    assert cut.token_count == len(token_ids(LONG))
    np.testing.assert_allclose(unpacked(vector), expected_vector(list(cut.ids)), atol=1e-5)
    assert (list(everything.ids), everything.truncated) == (token_ids(LONG), False)


async def test_spans_count_in_the_text_as_it_was_cleaned(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(
        store, "default", "tone", prefix="my order: ", cleaning=Cleaning(strip_html=True)
    )
    request = pb.TokenizeRequest(
        model="models/tone", texts=["<b>Later</b> 🙂 refund"], with_spans=True
    )

    (found,) = await tokens(running, request)

    words = [found.text[span.start : span.end] for span in found.spans]
    assert found.text == "Later 🙂 refund"
    # [CLS] my order : late ##r [UNK] refund [SEP]
    assert words == ["", "", "", "", "Late", "r", "🙂", "refund", ""]
    assert len(found.ids) == len(found.tokens) == len(words)


async def test_a_text_is_read_as_what_it_is_said_to_be(
    running: Running, store: ObjectStore
) -> None:
    query, document = input_type_pb2.INPUT_TYPE_QUERY, input_type_pb2.INPUT_TYPE_DOCUMENT
    publish_tiny_model(
        store, "default", "tone", prefix="my ", typed_prefixes={query: "where ", document: ""}
    )
    publish_tiny_model(store, "default", "plain", prefix="my ")

    async def read(model: str, input_type: input_type_pb2.InputType.ValueType) -> list[int]:
        asked = {"model": f"models/{model}", "texts": ["great"], "input_type": input_type}
        (shown,) = await tokens(running, pb.TokenizeRequest(**asked))  # type: ignore[arg-type] # fields of both
        (result,) = (await running.stub.Embed(pb.EmbedRequest(**asked))).results  # type: ignore[arg-type] # as above
        np.testing.assert_allclose(unpacked(result), expected_vector(list(shown.ids)), atol=1e-5)
        return list(shown.ids)

    assert await read("tone", query) == token_ids("where great")
    assert await read("tone", document) == token_ids("great")
    assert await read("tone", input_type_pb2.INPUT_TYPE_CLUSTERING) == token_ids("my great")
    assert await read("tone", input_type_pb2.INPUT_TYPE_UNSPECIFIED) == token_ids("my great")
    assert await read("plain", query) == token_ids("my great")


async def test_texts_that_cannot_be_shown_are_named(running: Running, store: ObjectStore) -> None:
    publish_tiny_model(store, "default", "tone", cleaning=Cleaning(strip_html=True))

    wrong = await refused(
        running.stub.Tokenize(
            pb.TokenizeRequest(
                model="tone",
                texts=["", "x" * (128 * 1024)] + ["great " * 20_000] * 10,
                truncation=9,  # type: ignore[arg-type] # what a newer client may send
            )
        )
    )
    empty = await refused(
        running.stub.Tokenize(pb.TokenizeRequest(model="models/tone", texts=["great", "<br>"]))
    )
    much = await refused(
        running.stub.Tokenize(
            pb.TokenizeRequest(
                model="models/tone",
                texts=["a " * 60_000] * 8,
                truncation=pb.TRUNCATION_NONE,
                with_spans=True,
            )
        )
    )

    assert wrong.fields == ["model", "texts[0]", "texts", "truncation"]
    assert empty.fields == ["texts[1]"]
    assert (much.code, much.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED")
    assert "with_spans" in much.message
