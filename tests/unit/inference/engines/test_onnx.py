from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from services.inference.engine import FloatArray, GraphInvalid, GraphShape, Output
from services.inference.engines.onnx import OnnxEngine
from tests.tiny_base import VOCABULARY
from tests.tiny_model import DIMENSION, tiny_graph, tiny_weights

SHAPE = GraphShape(dimension=DIMENSION, labels=3, pad_token_id=0)

token_rows = st.lists(
    st.lists(st.integers(1, len(VOCABULARY) - 1), min_size=1, max_size=40), min_size=1, max_size=12
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    path.write_bytes(tiny_graph(labels=3))
    return path


@pytest.fixture(scope="module")
def engine(path: Path) -> OnnxEngine:
    return OnnxEngine(path, shape=SHAPE, threads=1)


def expected_embedding(ids: list[int]) -> FloatArray:
    mean = tiny_weights(labels=3)["vectors"][ids].astype(np.float64).sum(axis=0)
    unit: FloatArray = (mean / np.linalg.norm(mean)).astype(np.float32)
    return unit


@given(rows=token_rows)
@settings(deadline=None)  # no timing decides a test
def test_a_text_has_the_same_vector_whatever_its_neighbours(
    engine: OnnxEngine, rows: list[list[int]]
) -> None:
    (together,) = engine.run(rows, (Output.EMBEDDING,))

    for row, ids in zip(together, rows, strict=True):
        alone = engine.run([ids], (Output.EMBEDDING,))[0][0]
        assert float(row @ alone) >= 0.99999
        np.testing.assert_allclose(row, expected_embedding(ids), atol=1e-5)


def test_one_pass_gives_both_outputs_in_the_order_asked_for(engine: OnnxEngine) -> None:
    rows = [[5, 9, 30], [8]]

    logits, vectors = engine.run(rows, (Output.LOGITS, Output.EMBEDDING))

    np.testing.assert_allclose(
        vectors, np.stack([expected_embedding(row) for row in rows]), atol=1e-5
    )

    head = tiny_weights(labels=3)["head"]
    np.testing.assert_allclose(
        logits, np.stack([expected_embedding(row) for row in rows]) @ head, atol=1e-4
    )


def test_threads_share_an_engine(engine: OnnxEngine) -> None:
    rows = [[1 + number % 70, 1 + number % 11] for number in range(300)]

    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda ids: engine.run([ids], (Output.EMBEDDING,))[0][0], rows))

    for row, ids in zip(found, rows, strict=True):
        np.testing.assert_allclose(row, expected_embedding(ids), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        (GraphShape(dimension=8, labels=3, pad_token_id=0), "sentence_embedding"),
        (GraphShape(dimension=DIMENSION, labels=4, pad_token_id=0), "logits"),
    ],
)
def test_a_graph_that_is_not_what_its_manifest_says_is_refused(
    path: Path, shape: GraphShape, complaint: str
) -> None:
    with pytest.raises(GraphInvalid, match=complaint):
        OnnxEngine(path, shape=shape, threads=1)


def test_a_graph_without_a_head_is_refused_where_there_are_labels(tmp_path: Path) -> None:
    path = tmp_path / "base.onnx"
    path.write_bytes(tiny_graph(labels=0))

    with pytest.raises(GraphInvalid, match="no output logits"):
        OnnxEngine(path, shape=SHAPE, threads=1)


def test_a_graph_that_computes_no_numbers_is_refused(tmp_path: Path) -> None:
    graph = onnx.load_from_string(tiny_graph(labels=3))
    (head,) = (tensor for tensor in graph.graph.initializer if tensor.name == "head")
    broken = np.full((DIMENSION, 3), np.nan, np.float32)
    head.CopyFrom(numpy_helper.from_array(broken, "head"))
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.SerializeToString())

    with pytest.raises(GraphInvalid, match="logits is not finite"):
        OnnxEngine(path, shape=SHAPE, threads=1)


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")

    with pytest.raises(GraphInvalid, match="cannot be opened"):
        OnnxEngine(path, shape=SHAPE, threads=1)
