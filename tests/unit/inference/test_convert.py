from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import label_mode_pb2, precision_pb2, vector_pb2
from services.common.errors import InvalidArgument, Reason
from services.inference.convert import call_from_proto, classify_response, embed_response
from services.inference.engine import EngineLimits, FloatArray, Output
from services.inference.limits import MAX_TEXT_BYTES
from services.inference.model import Computed, LabelMode, Model, Precision, Timings
from services.inference.tokenization import TextReader, TokenisedText, Truncation
from tests.tiny_model import tiny_tokenizer


class NoEngine:
    """Stands where an engine must be and nothing is computed."""

    limits = EngineLimits(texts=8, padded_tokens=512, runs=1)

    def run(self, token_ids: object, outputs: tuple[Output, ...]) -> tuple[FloatArray, ...]:
        raise NotImplementedError


def model(*, labels: tuple[str, ...] = (), mode: LabelMode = LabelMode.SINGLE) -> Model:
    return Model(
        name="models/tone",
        precision=Precision.EXACT,
        digest="0" * 64,
        dimension=4,
        max_tokens=16,
        labels=labels,
        label_mode=mode,
        thresholds=(0.5,) * len(labels) if mode is LabelMode.MULTI else (),
        cleaner=None,
        reader=TextReader(tiny_tokenizer().to_str().encode(), max_tokens=16),
        engine=NoEngine(),
    )


def computed(rows: FloatArray) -> Computed:
    texts = [
        TokenisedText(ids=[2, *range(number), 3], truncated=number % 2 == 1)
        for number in range(len(rows))
    ]
    return Computed(
        rows={Output.EMBEDDING: rows, Output.LOGITS: rows},
        texts=texts,
        errors={},
        timings=Timings(queue=0.0, tokenise=0.0, infer=0.0),
    )


def violations(request: pb.EmbedRequest | pb.ClassifyRequest, max_texts: int = 4) -> list[str]:
    with pytest.raises(InvalidArgument) as caught:
        call_from_proto(request, max_texts=max_texts)
    return [violation.field for violation in caught.value.violations]


def test_what_is_unset_has_its_documented_default() -> None:
    call = call_from_proto(pb.EmbedRequest(model="models/tone", texts=["a"]), max_texts=4)

    assert (str(call.name), call.texts) == ("models/tone", ["a"])
    assert (call.truncation, call.precision) == (Truncation.END, Precision.EXACT)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    request = pb.EmbedRequest(
        model="tone",
        texts=["good", "", " \n", "x" * (MAX_TEXT_BYTES + 1)],
        truncation=99,  # type: ignore[arg-type] # what a newer client may send
        precision=98,  # type: ignore[arg-type] # as above
        vector_type=97,  # type: ignore[arg-type] # as above
    )

    assert violations(request) == [
        "model",
        "texts[1]",
        "texts[2]",
        "texts[3]",
        "truncation",
        "precision",
        "vector_type",
    ]


def test_a_negative_top_k_is_refused() -> None:
    assert violations(pb.ClassifyRequest(model="models/tone", texts=["a"], top_k=-1)) == ["top_k"]


def test_a_bare_id_is_shown_in_full() -> None:
    with pytest.raises(InvalidArgument, match="models/tone"):
        call_from_proto(pb.EmbedRequest(model="tone", texts=["a"]), max_texts=4)


def test_a_dataset_is_no_model() -> None:
    assert violations(pb.EmbedRequest(model="datasets/tone", texts=["a"])) == ["model"]


def test_no_texts_and_too_many_are_refused() -> None:
    assert violations(pb.EmbedRequest(model="models/tone")) == ["texts"]
    with pytest.raises(InvalidArgument, match="has 10000 texts") as caught:
        call_from_proto(pb.EmbedRequest(model="models/tone", texts=[""] * 10_000), max_texts=4)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_size_is_counted_in_bytes() -> None:
    fits = "é" * (MAX_TEXT_BYTES // 2)
    call_from_proto(pb.EmbedRequest(model="models/tone", texts=[fits]), max_texts=4)

    assert violations(pb.EmbedRequest(model="models/tone", texts=[fits + "!"])) == ["texts[0]"]


@given(arrays(np.float32, st.tuples(st.integers(1, 5), st.just(4))))
@settings(deadline=None)  # no timing decides a test
def test_bytes_and_list_hold_the_same_numbers(rows: FloatArray) -> None:
    packed = embed_response(model(), computed(rows), as_list=False)
    listed = embed_response(model(), computed(rows), as_list=True)

    for row, from_bytes, from_list in zip(rows, packed.results, listed.results, strict=True):
        np.testing.assert_array_equal(np.frombuffer(from_bytes.vector.packed, "<f4"), row)
        np.testing.assert_array_equal(np.array(from_list.vector.floats.values, np.float32), row)


def test_an_embed_answer_says_what_it_is() -> None:
    response = embed_response(model(), computed(np.zeros((2, 4), np.float32)), as_list=False)

    assert (response.dimension, response.vector_type) == (4, vector_pb2.VECTOR_TYPE_FLOAT32)
    assert response.served_by == pb.ServedModel(
        model="models/tone", precision=precision_pb2.PRECISION_EXACT, digest="0" * 64
    )
    assert [result.usage for result in response.results] == [
        pb.TextUsage(token_count=2, truncated=False),
        pb.TextUsage(token_count=3, truncated=True),
    ]


def test_a_classify_answer_ranks_the_labels() -> None:
    logits = np.log(np.array([[0.25, 0.5, 0.25]], np.float32))

    response = classify_response(model(labels=("angry", "calm", "glad")), computed(logits), top_k=2)

    (result,) = response.results
    assert response.label_mode == label_mode_pb2.LABEL_MODE_SINGLE
    assert [label.label for label in result.classification.predictions] == ["calm"]
    assert [label.label for label in result.classification.labels] == ["calm", "angry"]
    assert result.classification.labels[0].confidence == pytest.approx(0.5)
    assert result.usage.token_count == 2


def test_a_text_without_any_likely_label_still_has_an_outcome() -> None:
    several = model(labels=("angry", "calm"), mode=LabelMode.MULTI)

    response = classify_response(several, computed(np.full((1, 2), -9.0, np.float32)), top_k=0)

    (result,) = response.results
    assert response.label_mode == label_mode_pb2.LABEL_MODE_MULTI
    assert result.WhichOneof("outcome") == "classification"
    assert list(result.classification.predictions) == []
