from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.neighbours import NeighbourRows
from services.inference.engine import FloatArray
from services.inference.neighbours.rows import Rows


def unit(vectors: FloatArray) -> FloatArray:
    found: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def rows_of(vectors: FloatArray) -> Rows:
    return Rows(vectors=vectors, places=range(len(vectors)), labels=[()] * len(vectors))


@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 40),
    texts=st.integers(1, 150),
    data=st.data(),
)
@settings(deadline=None, max_examples=30)  # no timing decides a test
def test_the_nearest_are_those_that_a_sort_finds(
    seed: int, rows: int, texts: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, rows))
    random = np.random.default_rng(seed)
    vectors = unit(random.normal(size=(rows, 8)).astype(np.float32))
    embeddings = unit(random.normal(size=(texts, 8)).astype(np.float32))

    found, cosines = rows_of(vectors).nearest(embeddings, count)

    expected = -np.sort(-(embeddings.astype(np.float64) @ vectors.T), axis=1)[:, :count]
    np.testing.assert_allclose(cosines, expected, atol=2e-6)
    assert found.shape == (texts, count)
    for row in found.tolist():
        assert len(set(row)) == count


def test_equally_near_rows_stand_in_their_order_whatever_is_computed_beside_them() -> None:
    random = np.random.default_rng(0)
    vectors = np.repeat(unit(random.normal(size=(50, 384)).astype(np.float32)), 3, axis=0)
    embeddings = unit(random.normal(size=(130, 384)).astype(np.float32))
    rows = rows_of(vectors)

    together, cosines = rows.nearest(embeddings, 6)

    for text in (0, 64, 129):
        alone, its_own = rows.nearest(embeddings[text : text + 1], 6)
        assert alone[0].tolist() == together[text].tolist()
        np.testing.assert_allclose(its_own[0], cosines[text], atol=1e-6)
        first = alone[0, 0] // 3 * 3
        assert alone[0, :3].tolist() == [first, first + 1, first + 2]


def test_rows_of_a_file_have_length_1_and_the_names_of_their_labels() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(3, 384)).astype(np.float32))
    found = NeighbourRows(
        vectors=vectors.astype(np.float16),
        rows=np.array([2, 5, 9], np.int64),
        label_ids=np.array([1, 0, 1], np.int32),
        label_ends=np.array([1, 1, 3], np.int32),
    )

    rows = Rows.of(found, ("a", "b"))

    np.testing.assert_allclose(np.linalg.norm(rows.vectors, axis=1), 1.0, atol=1e-6)
    assert list(rows.places) == [2, 5, 9]
    assert list(rows.labels) == [("b",), (), ("a", "b")]
    _, cosines = rows.nearest(vectors, 1)
    np.testing.assert_allclose(cosines, 1.0, atol=1e-5)
