"""The vector of a text depends on the graph alone: not on neighbours, engine, threads or turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.scratch import Scratch
from services.inference.engine import Engine, Engines, FloatArray, GraphShape, Output
from services.inference.engines.buckets import BucketedSession
from services.inference.engines.onnx import LocalEngines
from services.inference.engines.processes import ProcessEngines
from services.inference.engines.session import padded
from tests.attention_graph import WIDTH, WORDS, write_attention_graph, write_quantised

SHAPE = GraphShape(dimension=WIDTH, labels=0, pad_token_id=0)
EMBEDDING = (Output.EMBEDDING,)
FORMS = ("exact", "quantised")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    paths = {form: folder / f"{form}.onnx" for form in FORMS}
    write_attention_graph(paths["exact"])
    write_quantised(paths["exact"], paths["quantised"])
    return paths


@pytest.fixture(scope="module")
def engines(
    graphs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, list[Engine]]]:
    with ExitStack() as stack:
        scratch = Scratch(tmp_path_factory.mktemp("engines"))
        processes = ProcessEngines(processes=2, lanes=1, threads=1, scratch=scratch)
        stack.callback(processes.close)
        places: list[Engines] = [LocalEngines(threads=1), LocalEngines(threads=2), processes]
        yield {form: [place.open(graphs[form], SHAPE) for place in places] for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
@given(
    rows=st.lists(
        st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=60), min_size=1, max_size=12
    )
)
@settings(deadline=None, max_examples=40)  # no timing decides a test
def test_a_text_has_one_vector(
    engines: dict[str, list[Engine]], graphs: dict[str, Path], form: str, rows: list[list[int]]
) -> None:
    first = engines[form][0]
    alone = np.concatenate([first.run([row], EMBEDDING)[0] for row in rows])

    for engine in engines[form]:
        assert_same(engine.run(rows, EMBEDDING)[0], alone)
        assert_same(engine.run(rows[::-1], EMBEDDING)[0][::-1], alone)
        assert_same(engine.run(rows[:1], EMBEDDING)[0], alone[:1])
    session = ort.InferenceSession(graphs[form], providers=["CPUExecutionProvider"])
    bucketed = BucketedSession(session, {Output.EMBEDDING: WIDTH}, device="cpu")
    assert_same(bucketed.run(*padded(rows, SHAPE.pad_token_id), EMBEDDING)[0], alone)


def assert_same(found: FloatArray, expected: FloatArray) -> None:
    assert (found * expected).sum(axis=1).min() >= 0.99999


def test_eight_bits_are_other_vectors(engines: dict[str, list[Engine]]) -> None:
    rows = [list(range(1, 40))]

    exact, quantised = (engines[form][0].run(rows, EMBEDDING)[0] for form in FORMS)

    assert 0.9 < float((exact * quantised).sum()) < 0.99999
