from __future__ import annotations

import numpy as np
import pytest

from isogloss import AsyncClient, Client, InvalidArgument, LabelMode, Precision
from isogloss.v1 import inference_service_pb2, precision_pb2
from tests.integration.client.scripted import MODEL, Scripted, vector_of


def test_many_texts_become_several_calls_in_order(client: Client, script: Scripted) -> None:
    texts = [f"text {number}" for number in range(300)]
    done: list[int] = []

    embeddings = client.embed(MODEL, texts, progress=done.append)

    assert [len(request.texts) for request in script.asked("Embed")] == [128, 128, 44]
    assert done == [128, 256, 300]
    assert embeddings.vectors.dtype == np.float32
    np.testing.assert_array_equal(embeddings.vectors, [vector_of(text) for text in texts])
    assert np.asarray(embeddings) is not None
    assert len(embeddings) == len(embeddings.usage) == 300
    assert embeddings.served_by.digest == "d1"
    assert embeddings.errors == {}


async def test_asyncio_embeds_and_classifies(async_client: AsyncClient) -> None:
    embeddings = await async_client.embed(MODEL, "one text")
    labels = await async_client.classify(MODEL, ["one text"])

    np.testing.assert_array_equal(embeddings.vectors, [vector_of("one text")])
    assert labels[0].label == "negative"


def test_one_long_text_after_another_stays_under_the_limit_of_a_message(
    client: Client, script: Scripted
) -> None:
    texts = ["x" * 128 * 1024] * 40

    client.embed(MODEL, texts)

    assert [len(request.texts) for request in script.asked("Embed")] == [16, 16, 8]


def test_an_answer_that_would_be_too_large_is_asked_for_in_halves(
    client: Client, script: Scripted
) -> None:
    script.most_texts = 40

    labels = client.classify(MODEL, [f"text {number}" for number in range(150)])

    assert len(labels) == 150
    answered = [len(r.texts) for r in script.asked("Classify") if len(r.texts) <= 40]
    assert sum(answered) == 150


def test_violations_count_from_the_first_of_all_texts(client: Client) -> None:
    texts = ["fine"] * 300
    texts[200] = texts[210] = ""

    with pytest.raises(InvalidArgument) as caught:
        client.embed(MODEL, texts)

    assert [v.field for v in caught.value.violations] == ["texts[200]", "texts[210]"]
    assert caught.value.message.startswith("texts[200]: ")


def test_no_text_at_all_is_the_services_to_refuse(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="at least one"):
        client.classify(MODEL, [])


def test_classifications_read_like_a_list(client: Client, script: Scripted) -> None:
    labels = client.classify(
        MODEL, ("a", "b"), top_k=1, truncation="none", precision=Precision.QUANTIZED
    )

    [request] = script.asked("Classify")
    assert request.precision == precision_pb2.PRECISION_QUANTIZED
    assert request.truncation == inference_service_pb2.TRUNCATION_NONE
    assert request.top_k == 1
    assert [found.label for found in labels] == ["negative", "negative"]
    assert labels[0].confidence == pytest.approx(0.75)
    assert len(labels[0].labels) == 1
    assert len(labels[:1]) == 1
    assert labels.label_mode is LabelMode.SINGLE


def test_a_precision_is_exact_or_quantised(client: Client, script: Scripted) -> None:
    client.embed(MODEL, "a")
    client.embed(MODEL, "a", precision="QUANTIZED")
    with pytest.raises(InvalidArgument, match="precision: `HALF` is none of `EXACT`, `QUANTIZED`"):
        client.embed(MODEL, "a", precision="HALF")

    assert [request.precision for request in script.asked("Embed")] == [
        precision_pb2.PRECISION_UNSPECIFIED,
        precision_pb2.PRECISION_QUANTIZED,
    ]
