from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import label_mode_pb2, precision_pb2, vector_pb2
from services.common.errors import FieldViolation, InvalidArgument
from services.inference.classification import LabelWish, label_rule
from services.inference.convert.responses import (
    classify_response,
    embed_and_classify_response,
    embed_response,
)
from services.inference.engine import FloatArray, Output
from services.inference.model import Computed, LabelMode, Model, Timings
from services.inference.resolving import Loaded
from services.inference.tokenization import TokenisedText
from services.inference.vectors import VectorForm, VectorType, VectorWish, vector_form
from tests.unit.inference.models import model

PLAIN = replace(model(), vector_range=1.0)
TONE = model(labels=("angry", "calm", "glad"))


def loaded(what: Model = PLAIN, seconds: float | None = None) -> Loaded:
    return Loaded(model=what, seconds=seconds)


def computed(rows: FloatArray) -> Computed:
    texts = [
        TokenisedText(ids=[2, *range(number), 3], truncated=number % 2 == 1)
        for number in range(len(rows))
    ]
    return Computed(
        rows={Output.EMBEDDING: rows, Output.LOGITS: rows},
        texts=texts,
        errors={},
        timings=Timings(queue=0.0, tokenise=0.25, infer=1.5),
    )


def form(vector_type: VectorType = VectorType.FLOAT32) -> VectorForm:
    return vector_form(VectorWish(vector_type=vector_type), PLAIN)


@given(arrays(np.float32, st.tuples(st.integers(1, 5), st.just(4))))
@settings(deadline=None)  # no timing decides a test
def test_bytes_and_list_hold_the_same_numbers(rows: FloatArray) -> None:
    packed = embed_response(loaded(), form(), computed(rows), as_list=False)
    listed = embed_response(loaded(), form(), computed(rows), as_list=True)

    for row, from_bytes, from_list in zip(rows, packed.results, listed.results, strict=True):
        np.testing.assert_array_equal(np.frombuffer(from_bytes.vector.packed, "<f4"), row)
        np.testing.assert_array_equal(np.array(from_list.vector.floats.values, np.float32), row)


@pytest.mark.parametrize(
    ("vector_type", "dtype"),
    [
        (VectorType.INT8, "i1"),
        (VectorType.UINT8, "u1"),
        (VectorType.BINARY, "i1"),
        (VectorType.UBINARY, "u1"),
    ],
)
def test_whole_numbers_are_listed_as_such(vector_type: VectorType, dtype: str) -> None:
    found = computed(np.array([[-1.0, 0.25, 0.0, 1.0]], np.float32))

    packed = embed_response(loaded(), form(vector_type), found, as_list=False)
    listed = embed_response(loaded(), form(vector_type), found, as_list=True)

    numbers = np.frombuffer(packed.results[0].vector.packed, dtype)
    assert listed.results[0].vector.integers.values == numbers.tolist()
    assert packed.vector_type == vector_pb2.VectorType.Value(f"VECTOR_TYPE_{vector_type.name}")
    assert (packed.step > 0) == vector_type.scaled


def test_an_embed_answer_says_what_it_is() -> None:
    rows = np.zeros((2, 4), np.float32)

    response = embed_response(loaded(), form(), computed(rows), as_list=False)

    assert (response.dimension, response.vector_type) == (4, vector_pb2.VECTOR_TYPE_FLOAT32)
    assert response.served_by == pb.ServedModel(
        model="models/tone", precision=precision_pb2.PRECISION_EXACT, digest="0" * 64
    )
    assert [result.usage for result in response.results] == [
        pb.TextUsage(token_count=2, truncated=False),
        pb.TextUsage(token_count=3, truncated=True),
    ]


def test_an_answer_says_where_its_time_went() -> None:
    found = computed(np.zeros((1, 4), np.float32))

    warm = embed_response(loaded(), form(), found, as_list=False).timings
    cold = embed_response(loaded(seconds=2.0), form(), found, as_list=False).timings

    assert warm.HasField("queue")
    assert warm.tokenize.ToMilliseconds() == 250
    assert warm.infer.ToMilliseconds() == 1500
    assert not warm.HasField("load")
    assert cold.load.ToMilliseconds() == 2000


def test_a_classify_answer_ranks_the_labels() -> None:
    logits = np.log(np.array([[0.25, 0.5, 0.25]], np.float32))

    response = classify_response(
        loaded(TONE), label_rule(LabelWish(top_k=2), TONE), computed(logits)
    )

    (result,) = response.results
    assert response.label_mode == label_mode_pb2.LABEL_MODE_SINGLE
    assert [label.label for label in result.classification.predictions] == ["calm"]
    assert [label.label for label in result.classification.labels] == ["calm", "angry"]
    assert result.classification.labels[0].confidence == pytest.approx(0.5)
    assert not result.classification.labels[0].HasField("raw_score")
    assert result.usage.token_count == 2


def test_raw_scores_are_the_logits() -> None:
    logits = np.array([[0.0, -2.5, 0.5]], np.float32)

    rule = label_rule(LabelWish(raw_scores=True), TONE)
    (result,) = classify_response(loaded(TONE), rule, computed(logits)).results

    scores = {label.label: label.raw_score for label in result.classification.labels}
    assert scores == {"glad": 0.5, "angry": 0.0, "calm": -2.5}
    assert result.classification.predictions[0].raw_score == 0.5


def test_a_text_without_any_likely_label_still_has_an_outcome() -> None:
    several = model(labels=("angry", "calm"), mode=LabelMode.MULTI)
    rule = label_rule(LabelWish(), several)

    response = classify_response(loaded(several), rule, computed(np.full((1, 2), -9.0, np.float32)))

    (result,) = response.results
    assert response.label_mode == label_mode_pb2.LABEL_MODE_MULTI
    assert result.WhichOneof("outcome") == "classification"
    assert list(result.classification.predictions) == []


def test_vector_and_labels_of_a_text_are_those_of_the_two_methods() -> None:
    rows = np.array([[5, 0, 0, 0], [0, 5, 0, 0], [1, 0, 0, 1]], np.float32)
    four = model(labels=("angry", "calm", "glad", "sad"))
    rule = label_rule(LabelWish(abstain_below=0.6), four)
    found = computed(rows)

    both = embed_and_classify_response(loaded(four), form(), rule, found, as_list=False)

    vectors = embed_response(loaded(four), form(), found, as_list=False)
    labels = classify_response(loaded(four), rule, found)
    for joint, vector, label in zip(both.results, vectors.results, labels.results, strict=True):
        assert joint.vector == vector.vector
        assert joint.classification == label.classification
        assert joint.usage == vector.usage
    assert (both.dimension, both.vector_type) == (vectors.dimension, vectors.vector_type)
    assert (both.label_mode, both.served_by) == (labels.label_mode, labels.served_by)
    assert {result.classification.abstained for result in both.results} == {False, True}


def test_a_text_that_failed_has_an_error_and_the_others_their_answers() -> None:
    problem = InvalidArgument(FieldViolation(field="texts[1]", description="is empty."))
    whole = computed(np.ones((3, 4), np.float32))
    broken = replace(whole, texts=[whole.texts[0], None, whole.texts[2]], errors={1: problem})
    four = model(labels=("angry", "calm", "glad", "sad"))
    rule = label_rule(LabelWish(), four)

    vectors = embed_response(loaded(four), form(), broken, as_list=False).results
    labels = classify_response(loaded(four), rule, broken).results
    both = embed_and_classify_response(loaded(four), form(), rule, broken, as_list=False).results

    assert [r.WhichOneof("outcome") for r in vectors] == ["vector", "error", "vector"]
    assert [r.WhichOneof("outcome") for r in labels] == [
        "classification",
        "error",
        "classification",
    ]
    assert [(r.HasField("vector"), r.HasField("error")) for r in both] == [
        (True, False),
        (False, True),
        (True, False),
    ]
    assert not both[1].HasField("classification")
    assert both[1].error.message == "texts[1]: is empty."
    assert not both[1].HasField("usage")
