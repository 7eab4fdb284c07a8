from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from isogloss import AsyncClient, Client, InvalidArgument, Unavailable
from isogloss.api.bulk import WINDOW
from isogloss.api.inference import STREAM_TEXTS
from isogloss.inference import Embeddings
from isogloss.v1 import inference_service_pb2
from tests.integration.client.scripted import MODEL, Scripted, vector_of

TEXTS = [f"text {number}" for number in range(STREAM_TEXTS * 20 + 5)]


def same(parts: list[Embeddings], texts: list[str]) -> bool:
    return np.array_equal(Embeddings.joined(parts).vectors, [vector_of(text) for text in texts])


def test_answers_come_in_the_order_of_the_texts(client: Client) -> None:
    done: list[int] = []

    parts = list(client.embed_many(MODEL, iter(TEXTS), progress=done.append))

    assert same(parts, TEXTS)
    assert [len(part) for part in parts] == [STREAM_TEXTS] * 20 + [5]
    assert done == [*range(STREAM_TEXTS, len(TEXTS), STREAM_TEXTS), len(TEXTS)]


async def test_asyncio_has_the_same_streams(async_client: AsyncClient) -> None:
    parts = [part async for part in async_client.embed_many(MODEL, TEXTS, priority="bulk")]
    labels = [part async for part in async_client.classify_many(MODEL, TEXTS[:40], top_k=1)]
    both = [part async for part in async_client.embed_and_classify_many(MODEL, TEXTS[:40])]

    assert same(parts, TEXTS)
    assert [len(part) for part in labels] == [len(part) for part in both] == [STREAM_TEXTS, 8]
    assert labels[0][0].label == both[1].classifications[7].label == "negative"
    assert same([part.embeddings for part in both], TEXTS[:40])


def test_what_has_no_answer_is_sent_again_where_a_stream_breaks_off(
    client: Client, script: Scripted
) -> None:
    script.lose_process_after = [3, 0, 5]

    assert same(list(client.embed_many(MODEL, TEXTS)), TEXTS)
    sent = [request.id for request in script.asked("Process")]
    assert set(sent) == {str(number) for number in range(21)}
    assert script.lose_process_after == []


def test_a_request_that_was_lost_with_an_engine_is_sent_again(
    client: Client, script: Scripted
) -> None:
    script.busy_requests = {"4", "20"}

    assert same(list(client.embed_many(MODEL, TEXTS)), TEXTS)
    assert script.busy_requests == set()


def test_a_service_that_is_not_there_is_told_at_once(client: Client, script: Scripted) -> None:
    script.lose_process_after = [0]

    with pytest.raises(Unavailable, match="connection lost"):
        next(client.embed_many(MODEL, TEXTS))


def test_a_refusal_names_the_text_among_all(client: Client) -> None:
    texts = [*TEXTS[: STREAM_TEXTS + 2], "forbidden"]
    answers = client.embed_many(MODEL, texts)

    assert len(next(answers)) == STREAM_TEXTS
    with pytest.raises(InvalidArgument, match=rf"texts\[{STREAM_TEXTS + 2}\]"):
        next(answers)


def test_what_the_texts_raise_is_raised_after_those_before_it(client: Client) -> None:
    def texts() -> Iterator[str]:
        yield from TEXTS[:STREAM_TEXTS]
        raise ZeroDivisionError

    answers = client.embed_many(MODEL, texts())

    assert len(next(answers)) == STREAM_TEXTS
    with pytest.raises(ZeroDivisionError):
        next(answers)


def test_texts_are_read_as_far_as_answers_are_taken(client: Client) -> None:
    read = 0
    enough = threading.Event()

    def texts() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            if read == STREAM_TEXTS * WINDOW:
                enough.set()
            yield "text"

    answers = client.embed_many(MODEL, texts())
    next(answers)
    assert enough.wait(20)
    for _ in range(5):
        next(answers)
    answers.close()  # type: ignore[attr-defined] # a generator

    # Five more were taken, and one may have been on its way.
    assert read <= STREAM_TEXTS * (WINDOW + 7)


def test_no_texts_have_no_answers(client: Client) -> None:
    assert list(client.classify_many(MODEL, [])) == []


def test_options_go_with_each_request(client: Client, script: Scripted) -> None:
    list(client.embed_many(MODEL, TEXTS[:40], truncation="start", dimensions=2))

    asked = [request.embed for request in script.asked("Process")]
    assert {request.truncation for request in asked} == {inference_service_pb2.TRUNCATION_START}
    assert {request.dimensions for request in asked} == {2}


def test_tokens_spans_and_status_are_told(client: Client, script: Scripted) -> None:
    tokens = client.tokenize(MODEL, ["my order", "late"] * 100, with_spans=True)
    status = client.server_status()
    both = client.embed_and_classify(MODEL, ["late"] * 200)

    assert len(tokens) == 200
    assert tokens[0].tokens == ("my", "order")
    assert tokens[0].spans == ((0, 2), (3, 8))
    assert [len(request.texts) for request in script.asked("Tokenize")] == [128, 72]
    assert status.models[0].model == MODEL
    assert len(both) == 200
