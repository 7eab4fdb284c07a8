from __future__ import annotations

import numpy as np
import pytest
from google.rpc import status_pb2

from isogloss import (
    InvalidArgument,
    LabelMode,
    Neighbour,
    OutOfScope,
    Precision,
    VectorType,
)
from isogloss import inference_convert as convert
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import (
    input_type_pb2,
    label_mode_pb2,
    precision_pb2,
    server_status_pb2,
    vector_pb2,
)

Vector = vector_pb2.Vector


def response(*results: pb.EmbedResult, vector_type: str = "FLOAT32") -> pb.EmbedResponse:
    return pb.EmbedResponse(
        results=results,
        dimension=2,
        vector_type=vector_pb2.VectorType.Value(f"VECTOR_TYPE_{vector_type}"),
    )


def packed(content: bytes) -> pb.EmbedResult:
    return pb.EmbedResult(vector=Vector(packed=content))


FAILED = pb.EmbedResult(error=status_pb2.Status(code=3, message="texts[1]: is empty."))


def test_vectors_are_read_in_either_form_and_a_failed_text_is_no_number() -> None:
    listed = pb.EmbedResult(vector=Vector(floats=vector_pb2.FloatList(values=[1.0, 2.0])))

    found = convert.embeddings(
        response(packed(b"\x00\x00\x80\x3f\x00\x00\x00\x40"), FAILED, listed)
    )

    np.testing.assert_array_equal(found.vectors, [[1.0, 2.0], [np.nan] * 2, [1.0, 2.0]])
    assert found.vectors.dtype == np.float32
    assert found.errors.keys() == {1}
    assert "is empty" in found.errors[1].message


@pytest.mark.parametrize(
    ("vector_type", "content", "numbers", "dtype"),
    [
        ("FLOAT16", b"\x00\x3c\x00\x40", [1.0, 2.0], np.float16),
        ("INT8", b"\xff\x7f", [-1, 127], np.int8),
        ("UINT8", b"\xff\x7f", [255, 127], np.uint8),
        ("BINARY", b"\x81", [-127], np.int8),
        ("UBINARY", b"\x81", [129], np.uint8),
    ],
)
def test_each_type_is_numpys(
    vector_type: str, content: bytes, numbers: list[float], dtype: type
) -> None:
    whole = vector_pb2.IntegerList(values=[] if vector_type == "FLOAT16" else map(int, numbers))
    listed = pb.EmbedResult(vector=Vector(integers=whole))
    results = [packed(content)] if vector_type == "FLOAT16" else [packed(content), listed]

    found = convert.embeddings(response(*results, vector_type=vector_type))

    assert found.vectors.dtype == dtype
    assert found.vectors.tolist() == [numbers] * len(results)
    assert (found.vector_type, found.dimension) == (VectorType[vector_type], 2)


def test_a_failed_text_has_zeros_where_there_is_no_other_way_to_say_so() -> None:
    found = convert.embeddings(response(FAILED, vector_type="INT8"))

    assert found.vectors.tolist() == [[0, 0]]
    assert found.errors.keys() == {0}


def test_options_are_written_and_what_is_none_is_not() -> None:
    embed, classify = pb.EmbedRequest(), pb.ClassifyRequest()

    convert.write_options(
        embed,
        {
            "vector_type": "ubinary",
            "truncation": "none",
            "precision": Precision.QUANTIZED,
            "priority": "bulk",
            "input_type": "query",
            "dimensions": 64,
            "normalize": False,
            "force_dimensions": None,
        },
    )
    convert.write_options(classify, {"label_thresholds": {"angry": 0.5}, "abstain_below": 0.25})

    assert embed == pb.EmbedRequest(
        vector_type=vector_pb2.VECTOR_TYPE_UBINARY,
        truncation=pb.TRUNCATION_NONE,
        precision=precision_pb2.PRECISION_QUANTIZED,
        priority=pb.PRIORITY_BULK,
        input_type=input_type_pb2.INPUT_TYPE_QUERY,
        dimensions=64,
        normalize=False,
    )
    assert classify == pb.ClassifyRequest(label_thresholds={"angry": 0.5}, abstain_below=0.25)


def test_what_a_call_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="vector_type: `float64` is none of `float32`"):
        convert.write_options(pb.EmbedRequest(), {"vector_type": "float64"})
    with pytest.raises(TypeError, match="'top_k' is nothing that EmbedRequest takes"):
        convert.write_options(pb.EmbedRequest(), {"top_k": 1})


def test_labels_tell_what_was_asked_for() -> None:
    scored = pb.ScoredLabel(label="calm", confidence=0.5, raw_score=-1.0)
    message = pb.ClassifyResponse(
        results=[
            pb.ClassifyResult(classification=pb.Classification(labels=[scored], abstained=True))
        ],
        label_mode=label_mode_pb2.LABEL_MODE_SINGLE,
    )
    message.timings.infer.FromMilliseconds(250)

    found = convert.classifications(message)

    assert (found[0].label, found[0].abstained) == ("", True)
    assert found[0].labels[0].raw_score == -1.0
    assert found.label_mode is LabelMode.SINGLE
    assert (found.timings.infer, found.timings.load) == (0.25, 0.0)


def test_labels_come_with_what_explains_them() -> None:
    near = pb.Neighbour(row=7, labels=["calm", "glad"], text="fine", similarity=0.5)
    scope = pb.OutOfScope(score=1.0, similarity=-0.25)
    labels = pb.Classification(neighbours=[near], out_of_scope=scope)
    message = pb.ClassifyResponse(
        results=[pb.ClassifyResult(classification=labels), pb.ClassifyResult()],
        label_mode=label_mode_pb2.LABEL_MODE_SINGLE,
        dataset="datasets/tone",
    )

    found = convert.classifications(message)

    expected = Neighbour(row=7, labels=("calm", "glad"), text="fine", similarity=0.5)
    assert found[0].neighbours == (expected,)
    assert found[0].out_of_scope == OutOfScope(score=1.0, similarity=-0.25)
    assert (found[1].neighbours, found[1].out_of_scope) == ((), None)
    assert found.dataset == "datasets/tone"


def test_a_server_tells_what_it_is() -> None:
    message = server_status_pb2.ServerStatus(version="1", worker_count=2)
    message.models.add(model="models/tone", precision=precision_pb2.PRECISION_EXACT)
    message.bulk.work.FromMilliseconds(1500)
    message.store_outage.FromSeconds(3)

    found = convert.server_status(message)

    assert (found.version, found.worker_count, found.bulk.work) == ("1", 2, 1.5)
    assert (found.store_reachable, found.store_outage) == (False, 3.0)
    assert (found.models[0].model, found.models[0].precision) == ("models/tone", Precision.EXACT)
    assert found.models[0].load_time is None
