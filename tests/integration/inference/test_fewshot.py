"""Labels from examples that come with the call, on a running service."""

from __future__ import annotations

import pytest

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import label_mode_pb2
from services.common.storage import ObjectStore
from tests.integration.inference.serving import TIMEOUT, Running, refused
from tests.tiny_model import publish_tiny_base, publish_tiny_model

PAIRS = [
    ("my order is late", "order"),
    ("where is my order", "order"),
    ("refund me", "money"),
    ("my refund never arrived", "money"),
]


def request(
    model: str = "baseModels/tiny", pairs: list[tuple[str, str]] = PAIRS, **fields: object
) -> pb.ClassifyRequest:
    asked = pb.ClassifyRequest(model=model, texts=["order late", "refund"])
    asked.examples.extend(pb.LabelledText(text=text, label=label) for text, label in pairs)
    asked.MergeFrom(pb.ClassifyRequest(**fields))  # type: ignore[arg-type]
    return asked


async def test_a_base_without_labels_learns_them_once(running: Running, store: ObjectStore) -> None:
    publish_tiny_base(store)

    first = await running.stub.Classify(request(raw_scores=True), timeout=TIMEOUT)
    again = await running.stub.Classify(request(raw_scores=True), timeout=TIMEOUT)

    assert first.label_mode == label_mode_pb2.LABEL_MODE_SINGLE
    assert first.served_by.model == "baseModels/tiny"
    labels = [found.classification.predictions[0].label for found in first.results]
    assert labels == ["order", "money"]
    for found in first.results:
        assert {scored.label for scored in found.classification.labels} == {"order", "money"}
        assert sum(scored.confidence for scored in found.classification.labels) == pytest.approx(1)
    assert first.timings.HasField("learn")
    assert not again.timings.HasField("learn")
    assert again.results == first.results


async def test_examples_stand_in_for_a_models_own_labels(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "own")

    answer = await running.stub.Classify(request("models/own", top_k=1), timeout=TIMEOUT)

    told = {scored.label for found in answer.results for scored in found.classification.labels}
    assert told <= {"order", "money"}


async def test_examples_explain_what_they_taught(running: Running, store: ObjectStore) -> None:
    publish_tiny_base(store)
    asked = request(explain=1)
    asked.texts[:] = ["refund me", "where is my order"]

    first = await running.stub.Classify(asked, timeout=TIMEOUT)
    again = await running.stub.Classify(asked, timeout=TIMEOUT)

    near = [result.classification.neighbours[0] for result in first.results]
    assert [(one.row, list(one.labels), one.text) for one in near] == [
        (2, ["money"], "refund me"),
        (1, ["order"], "where is my order"),
    ]
    assert [one.similarity for one in near] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert not first.dataset
    assert not again.timings.HasField("learn")
    assert again.results == first.results


async def test_examples_do_not_say_what_is_out_of_scope(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)

    refusal = await refused(running.stub.Classify(request(out_of_scope=True), timeout=TIMEOUT))

    assert refusal.fields == ["out_of_scope"]


async def test_all_that_is_wrong_with_examples_is_named(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    pairs = [("late", "a"), (" ", "a"), ("great", ""), ("fine", "b")]

    refusal = await refused(running.stub.Classify(request(pairs=pairs), timeout=TIMEOUT))
    alone = await refused(
        running.stub.Classify(request(pairs=[("late", "a"), ("great", "a")]), timeout=TIMEOUT)
    )
    many = await refused(
        running.stub.Classify(request(pairs=[("late", "a")] * 2501), timeout=TIMEOUT)
    )

    assert refusal.fields == ["examples[1].text", "examples[2].label", "examples"]
    assert b"fewer than 2 of 'b'. " in refusal.status.SerializeToString()
    assert alone.fields == ["examples"]
    assert many.fields == ["examples"]
    assert "2500" in many.message


async def test_an_example_that_is_too_long_is_named_where_nothing_may_be_cut(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    pairs = [*PAIRS, ("late " * 200, "order")]

    refusal = await refused(
        running.stub.Classify(request(pairs=pairs, truncation=pb.TRUNCATION_NONE), timeout=TIMEOUT)
    )

    assert refusal.fields == ["examples[4].text"]


async def test_a_base_without_examples_says_to_send_some(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)

    refusal = await refused(running.stub.Classify(request(pairs=[]), timeout=TIMEOUT))

    assert refusal.reason == "MODEL_HAS_NO_HEAD"
    assert "Send examples" in refusal.message
