"""What explains predictions, and whether texts are of the model's kind, on a running service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc
import pytest

from isogloss.storage.v1.model_manifest_pb2 import Neighbours
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import precision_pb2
from services.common.storage import ObjectStore
from tests.integration.inference.serving import TIMEOUT, Running, refused
from tests.tiny_model import publish_tiny_model, store_neighbours

ROWS: Sequence[tuple[str, Sequence[int]]] = [
    ("my order is late", [0]),
    ("where is my refund", [1]),
    ("great and fast", [2]),
    ("my order is late", [1]),
]
SPREAD = [0.0, 0.5, 0.9, 0.99]


def publish(store: ObjectStore, model: str = "tone", **changes: object) -> Neighbours:
    kept = store_neighbours(store, "default", model, ROWS, held_out_cosines=SPREAD)
    publish_tiny_model(store, "default", model, neighbours=kept, **changes)  # type: ignore[arg-type]
    return kept


def request(*texts: str, **fields: object) -> pb.ClassifyRequest:
    asked = {"model": "models/tone", "explain": 2} | fields
    return pb.ClassifyRequest(texts=texts, **asked)  # type: ignore[arg-type]


def rows(result: pb.ClassifyResult | pb.EmbedAndClassifyResult) -> list[int]:
    return [neighbour.row for neighbour in result.classification.neighbours]


async def test_a_training_text_is_its_own_nearest_neighbour(
    running: Running, store: ObjectStore
) -> None:
    publish(store)

    await running.stub.Classify(request("late", explain=0), timeout=TIMEOUT)

    answer = await running.stub.Classify(
        request("where is my refund", "my order is late"), timeout=TIMEOUT
    )

    # The model was in memory, and its rows were not.
    assert answer.timings.HasField("load")
    first, second = answer.results
    own = first.classification.neighbours[0]
    assert (own.row, list(own.labels), own.text) == (3, ["neutral"], "where is my refund")
    assert own.similarity == pytest.approx(1.0, abs=1e-5)
    # Two rows with one text are equally near: that which stands first comes first.
    assert rows(second) == [1, 7]
    assert first.classification.neighbours[1].similarity < own.similarity
    assert answer.dataset == "datasets/learnt"
    assert not first.classification.HasField("out_of_scope")


async def test_labels_are_the_same_whether_they_are_explained_or_not(
    running: Running, store: ObjectStore
) -> None:
    publish(store)

    explained = await running.stub.Classify(request("order late"), timeout=TIMEOUT)
    plain = await running.stub.Classify(request("order late", explain=0), timeout=TIMEOUT)

    found = explained.results[0].classification
    assert found.predictions == plain.results[0].classification.predictions
    assert not plain.results[0].classification.neighbours
    assert not plain.dataset


async def test_who_asks_for_more_neighbours_than_there_are_gets_all(
    running: Running, store: ObjectStore
) -> None:
    publish(store)

    answer = await running.stub.Classify(request("order", explain=20), timeout=TIMEOUT)

    assert sorted(rows(answer.results[0])) == [1, 3, 5, 7]


async def test_the_score_says_how_many_held_out_texts_are_nearer(
    running: Running, store: ObjectStore
) -> None:
    publish(store)

    answer = await running.stub.Classify(
        request("my order is late", "why", explain=0, out_of_scope=True), timeout=TIMEOUT
    )

    near, far = (result.classification.out_of_scope for result in answer.results)
    assert near.score == 0.0
    assert near.similarity == pytest.approx(1.0, abs=1e-5)
    assert far.similarity < 0.9
    assert far.score > 1 / 3
    assert not answer.results[0].classification.neighbours
    assert not answer.dataset


async def test_vectors_and_streams_bring_neighbours_as_well(
    running: Running, store: ObjectStore
) -> None:
    publish(store)
    asked = pb.EmbedAndClassifyRequest(
        model="models/tone", texts=["great and fast"], explain=1, out_of_scope=True
    )

    async def requests() -> AsyncIterator[pb.ProcessRequest]:
        yield pb.ProcessRequest(id="a", classify=request("great and fast", " ", explain=1))

    both = await running.stub.EmbedAndClassify(asked, timeout=TIMEOUT)
    streamed = [answer async for answer in running.stub.Process(requests(), timeout=TIMEOUT)]

    assert rows(both.results[0]) == [5]
    assert both.results[0].vector.packed
    assert both.results[0].classification.out_of_scope.score == 0.0
    assert both.dataset == "datasets/learnt"
    good, bad = streamed[0].classify.results
    assert rows(good) == [5]
    assert bad.HasField("error")
    assert not bad.HasField("classification")


async def test_texts_that_were_purged_are_not_told(running: Running, store: ObjectStore) -> None:
    kept = publish(store)
    before = await running.stub.Classify(request("great and fast"), timeout=TIMEOUT)
    assert before.results[0].classification.neighbours[0].text == "great and fast"

    store.delete(kept.texts.key)

    async def text() -> str:
        answer = await running.stub.Classify(request("great and fast"), timeout=TIMEOUT)
        assert rows(answer.results[0])[0] == 5
        return str(answer.results[0].classification.neighbours[0].text)

    while await text():
        pass


@pytest.mark.parametrize("field", ["explain", "out_of_scope"])
async def test_quantised_vectors_are_not_compared_with_exact_ones(
    running: Running, store: ObjectStore, field: str
) -> None:
    publish(store, quantised=True)
    asked = pb.ClassifyRequest(
        model="models/tone", texts=["late"], precision=precision_pb2.PRECISION_QUANTIZED
    )
    setattr(asked, field, 1)

    refusal = await refused(running.stub.Classify(asked, timeout=TIMEOUT))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == [field]
    assert "Ask for EXACT" in refusal.message


async def test_a_model_that_keeps_no_rows_says_what_to_do(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "tone")

    refusal = await refused(running.stub.Classify(request("late"), timeout=TIMEOUT))

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "NEIGHBOURS_UNAVAILABLE"
    assert "Train it again" in refusal.message


async def test_without_held_out_texts_neighbours_are_told_and_no_score(
    running: Running, store: ObjectStore
) -> None:
    kept = store_neighbours(store, "default", "tone", ROWS)
    publish_tiny_model(store, "default", "tone", neighbours=kept)

    answer = await running.stub.Classify(request("late"), timeout=TIMEOUT)
    refusal = await refused(
        running.stub.Classify(request("late", out_of_scope=True), timeout=TIMEOUT)
    )

    assert len(rows(answer.results[0])) == 2
    assert refusal.reason == "NEIGHBOURS_UNAVAILABLE"
    assert "held out" in refusal.message


@pytest.mark.parametrize("count", [-1, 21])
async def test_neighbours_are_few(running: Running, store: ObjectStore, count: int) -> None:
    publish(store)

    refusal = await refused(running.stub.Classify(request("late", explain=count), timeout=TIMEOUT))

    assert refusal.fields == ["explain"]
    assert "0 to 20" in refusal.message


async def test_a_model_whose_rows_are_damaged_explains_nothing_and_serves(
    running: Running, store: ObjectStore
) -> None:
    kept = publish(store)
    store.put(kept.vectors.key, b"x" * kept.vectors.size)

    refusal = await refused(running.stub.Classify(request("late"), timeout=TIMEOUT))
    answer = await running.stub.Classify(request("late", explain=0), timeout=TIMEOUT)

    assert refusal.code is grpc.StatusCode.DATA_LOSS
    assert kept.vectors.key in refusal.message
    assert answer.results[0].classification.predictions


async def test_of_several_labels_a_text_all_are_told(running: Running, store: ObjectStore) -> None:
    kept = store_neighbours(store, "default", "tone", [("late", []), ("my order is late", [0, 2])])
    publish_tiny_model(store, "default", "tone", thresholds=[0.5] * 3, neighbours=kept)

    answer = await running.stub.Classify(request("my order is late"), timeout=TIMEOUT)

    near = answer.results[0].classification.neighbours
    assert [list(each.labels) for each in near] == [["negative", "positive"], []]
