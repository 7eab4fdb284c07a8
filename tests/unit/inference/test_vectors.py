from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.common.errors import InvalidArgument, Reason
from services.inference.engine import FloatArray
from services.inference.vectors import VectorType, VectorWish, vector_form
from tests.unit.inference.models import model

DIMENSION = 20
RANGED = replace(model(dimension=DIMENSION), vector_range=0.5)
NESTED = replace(RANGED, matryoshka_dimensions=(4, 10))


def rows(texts: int = 50, seed: int = 0) -> FloatArray:
    found = np.random.default_rng(seed).normal(size=(texts, DIMENSION))
    unit: FloatArray = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


def refused(wish: VectorWish, asked: object = RANGED) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        vector_form(wish, asked)  # type: ignore[arg-type] # a model, below
    assert all(v.reason is Reason.VECTOR_UNAVAILABLE for v in caught.value.violations)
    return {violation.field: violation.description for violation in caught.value.violations}


@pytest.mark.parametrize(
    ("vector_type", "dtype", "size"),
    [
        (VectorType.FLOAT32, "<f4", 80),
        (VectorType.FLOAT16, "<f2", 40),
        (VectorType.INT8, "i1", 20),
        (VectorType.UINT8, "u1", 20),
        (VectorType.BINARY, "i1", 3),
        (VectorType.UBINARY, "u1", 3),
    ],
)
def test_each_type_has_the_size_that_it_says(
    vector_type: VectorType, dtype: str, size: int
) -> None:
    form = vector_form(VectorWish(vector_type=vector_type), RANGED)

    numbers = form.encode(rows())

    assert numbers.dtype == np.dtype(dtype)
    assert {len(row.tobytes()) for row in numbers} == {size} == {form.packed_bytes}


def test_whole_float32_vectors_are_what_the_graph_gave() -> None:
    np.testing.assert_array_equal(vector_form(VectorWish(), RANGED).encode(rows()), rows())


def test_a_step_turns_small_numbers_back_into_the_embedding() -> None:
    form = vector_form(VectorWish(vector_type=VectorType.INT8), RANGED)
    unsigned = vector_form(VectorWish(vector_type=VectorType.UINT8), RANGED)

    numbers = form.encode(rows())

    inside = np.abs(rows()) <= 0.5
    assert inside.mean() > 0.9
    np.testing.assert_allclose(
        (numbers * form.step)[inside], rows()[inside], atol=form.step / 2 + 1e-7
    )
    assert set(np.abs(numbers[~inside]).tolist()) == {127}
    np.testing.assert_array_equal(unsigned.encode(rows()).astype(int) - 128, numbers)
    assert unsigned.step == form.step


@given(arrays(np.float32, (3, DIMENSION), elements=st.floats(-1, 1, width=32)))
@settings(deadline=None)  # no timing decides a test
def test_a_vector_and_its_opposite_have_opposite_numbers(found: FloatArray) -> None:
    form = vector_form(VectorWish(vector_type=VectorType.INT8), RANGED)

    np.testing.assert_array_equal(form.encode(found), -form.encode(-found))


def test_bits_tell_which_numbers_are_over_zero_the_first_one_highest() -> None:
    found = np.full((1, DIMENSION), -0.1, np.float32)
    found[0, [0, 9, 19]] = 0.1
    found[0, 10] = 0.0
    unsigned = vector_form(VectorWish(vector_type=VectorType.UBINARY), RANGED)
    signed = vector_form(VectorWish(vector_type=VectorType.BINARY), RANGED)

    assert unsigned.encode(found).tolist() == [[0b1000_0000, 0b0100_0000, 0b0001_0000]]
    assert signed.encode(found).tolist() == [[0, 64 - 128, 16 - 128]]


def test_a_cut_vector_has_length_one_again() -> None:
    form = vector_form(VectorWish(dimensions=10), NESTED)

    found = form.encode(rows())

    assert found.shape == (50, 10)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(found[:, 0] / found[:, 1], rows()[:, 0] / rows()[:, 1], rtol=1e-5)


def test_a_cut_vector_stays_as_it_is_where_the_caller_wants_it() -> None:
    form = vector_form(VectorWish(dimensions=10, normalize=False), NESTED)

    np.testing.assert_array_equal(form.encode(rows()), rows()[:, :10])


def test_cut_numbers_have_a_wider_step() -> None:
    form = vector_form(VectorWish(vector_type=VectorType.INT8, dimensions=10), NESTED)
    floats = vector_form(VectorWish(dimensions=10), NESTED).encode(rows())

    error = np.abs(form.encode(rows()) * form.step - floats)

    assert form.step == pytest.approx(0.5 * np.sqrt(2) / 127)
    assert error[np.abs(floats) < 0.7].max() <= form.step / 2 + 1e-6


def test_a_text_that_failed_keeps_its_row_of_zeros() -> None:
    nothing = np.zeros((1, DIMENSION), np.float32)

    assert vector_form(VectorWish(dimensions=4), NESTED).encode(nothing).tolist() == [[0.0] * 4]


def test_what_was_not_trained_to_be_cut_is_cut_by_force_only() -> None:
    assert "was not trained to be cut." in refused(VectorWish(dimensions=10))["dimensions"]
    assert "to be cut to 4, 10 only" in refused(VectorWish(dimensions=5), NESTED)["dimensions"]
    assert vector_form(VectorWish(dimensions=5, force=True), RANGED).dimension == 5
    assert vector_form(VectorWish(dimensions=DIMENSION), RANGED).dimension == DIMENSION


def test_no_model_gives_more_numbers_than_it_has() -> None:
    with pytest.raises(InvalidArgument, match="21 is more than the 20 numbers"):
        vector_form(VectorWish(dimensions=21, force=True), RANGED)


def test_everything_that_a_model_cannot_give_is_told_at_once() -> None:
    wish = VectorWish(vector_type=VectorType.INT8, dimensions=3)

    assert refused(wish, model(dimension=DIMENSION)).keys() == {"vector_type", "dimensions"}


def test_whole_vectors_have_no_other_length_than_one() -> None:
    assert "direction only" in refused(VectorWish(normalize=False))["normalize"]
