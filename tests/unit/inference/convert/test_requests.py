from __future__ import annotations

import math

import pytest

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import input_type_pb2, vector_pb2
from services.common.errors import InvalidArgument, Reason
from services.inference.classification import LabelWish
from services.inference.convert.requests import Request, call_from_proto
from services.inference.limits import MAX_LABEL_THRESHOLDS, MAX_TEXT_BYTES
from services.inference.model import Precision
from services.inference.neighbours.explaining import NeighbourWish
from services.inference.scheduling.priority import Priority
from services.inference.tokenization import InputType, Truncation
from services.inference.vectors import VectorType, VectorWish


def violations(request: Request, max_texts: int = 4) -> list[str]:
    with pytest.raises(InvalidArgument) as caught:
        call_from_proto(request, max_texts=max_texts)
    return [violation.field for violation in caught.value.violations]


def test_what_is_unset_has_its_documented_default() -> None:
    call = call_from_proto(
        pb.EmbedAndClassifyRequest(model="models/tone", texts=["a"]), max_texts=4
    )

    assert (str(call.name), call.texts) == ("models/tone", ["a"])
    assert (call.truncation, call.precision) == (Truncation.END, Precision.EXACT)
    assert (call.priority, call.as_list) == (None, False)
    assert call.vectors == VectorWish(vector_type=VectorType.FLOAT32, dimensions=0, normalize=True)
    assert call.labels == LabelWish(top_k=0, threshold=None, abstain_below=None, raw_scores=False)


def test_everything_that_is_set_arrives() -> None:
    call = call_from_proto(
        pb.EmbedAndClassifyRequest(
            model="aliases/tone",
            texts=["a"],
            priority=pb.PRIORITY_BULK,
            as_list=True,
            vector_type=vector_pb2.VECTOR_TYPE_UBINARY,
            dimensions=8,
            force_dimensions=True,
            normalize=False,
            top_k=2,
            threshold=0.0,
            label_thresholds={"angry": 0.25},
            abstain_below=0.5,
            raw_scores=True,
            explain=20,
            out_of_scope=True,
        ),
        max_texts=4,
    )

    assert (call.priority, call.as_list) == (Priority.BULK, True)
    assert call.neighbours == NeighbourWish(explain=20, out_of_scope=True)
    assert call.vectors == VectorWish(
        vector_type=VectorType.UBINARY, dimensions=8, force=True, normalize=False
    )
    assert call.labels == LabelWish(
        top_k=2,
        threshold=0.0,
        label_thresholds={"angry": 0.25},
        abstain_below=0.5,
        raw_scores=True,
    )


def test_everything_that_is_wrong_is_told_at_once() -> None:
    request = pb.EmbedAndClassifyRequest(
        model="tone",
        texts=["good", "", " \n", "x" * (MAX_TEXT_BYTES + 1)],
        truncation=99,  # type: ignore[arg-type] # what a newer client may send
        precision=98,  # type: ignore[arg-type] # as above
        priority=97,  # type: ignore[arg-type] # as above
        vector_type=96,  # type: ignore[arg-type] # as above
        dimensions=-1,
        top_k=-1,
        threshold=1.5,
        abstain_below=math.nan,
        label_thresholds={"angry": -0.1, "calm": 1.0},
    )

    assert violations(request) == [
        "model",
        "texts[1]",
        "texts[2]",
        "texts[3]",
        "truncation",
        "precision",
        "priority",
        "vector_type",
        "dimensions",
        "top_k",
        "threshold",
        "abstain_below",
        "label_thresholds[angry]",
    ]


def test_more_thresholds_than_a_model_could_use_are_refused_unread() -> None:
    most = {f"label {number}": 0.5 for number in range(MAX_LABEL_THRESHOLDS)}
    request = pb.ClassifyRequest(model="models/tone", texts=["a"], label_thresholds=most)

    assert call_from_proto(request, max_texts=4).labels.label_thresholds == most
    request.label_thresholds["one more"] = 7.0
    assert violations(request) == ["label_thresholds"]


def test_an_unknown_value_is_told_with_those_that_are_known() -> None:
    request = pb.EmbedRequest(model="models/tone", texts=["a"], vector_type=96)  # type: ignore[arg-type] # what a newer client may send

    with pytest.raises(InvalidArgument, match=r"96 is no value.*VECTOR_TYPE_UBINARY"):
        call_from_proto(request, max_texts=4)


def test_only_embeddings_are_asked_for_by_type() -> None:
    query = input_type_pb2.INPUT_TYPE_QUERY
    embed = pb.EmbedRequest(model="models/tone", texts=["a"], input_type=query)
    wrong = pb.EmbedRequest(model="models/tone", texts=["a"], input_type=99)  # type: ignore[arg-type] # what a newer client may send

    assert call_from_proto(embed, max_texts=4).input_type is InputType.QUERY
    assert violations(wrong) == ["input_type"]


def test_texts_that_have_errors_of_their_own_are_not_looked_at() -> None:
    request = pb.EmbedRequest(model="models/tone", texts=["good", ""])

    assert call_from_proto(request, max_texts=4, each=True).texts == ["good", ""]


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
