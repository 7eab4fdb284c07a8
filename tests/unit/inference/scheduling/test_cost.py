from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.scheduling.cost import CostModel
from tests.unit.inference.scheduling.simulation import cpu, gpu

SHAPES = [(1, 8), (1, 30), (4, 16), (8, 64), (16, 30), (1, 400), (2, 350)]


def slow(texts: int, longest: int) -> float:
    """Like a model twenty times as large."""
    return 20 * cpu(texts, longest)


def learnt(curve: Callable[[int, int], float], *, runs: int = 300, noise: float = 0.0) -> CostModel:
    cost, source = CostModel(), random.Random(5)  # noqa: S311 (a simulation)
    for number in range(runs):
        texts, longest = SHAPES[number % len(SHAPES)]
        cost.learn(texts, longest, curve(texts, longest) * source.uniform(1 - noise, 1 + noise))
    return cost


@pytest.mark.parametrize("curve", [cpu, slow])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_costs_of_a_processor_are_found(curve: Callable[[int, int], float], noise: float) -> None:
    cost = learnt(curve, noise=noise)

    for texts, longest in [*SHAPES, (4, 200), (32, 12)]:
        assert cost.seconds(texts, longest) == pytest.approx(curve(texts, longest), rel=0.15)


def test_a_gpu_costs_the_same_whether_it_is_full_or_not() -> None:
    cost = learnt(gpu)

    assert cost.seconds(1, 8) == pytest.approx(2.5e-3, rel=0.2)
    assert cost.seconds(8, 64) == pytest.approx(2.5e-3, rel=0.3)


def test_before_anything_ran_a_guess_is_given() -> None:
    cost = CostModel()

    assert not cost.known
    assert 1e-4 < cost.seconds(1, 16) < 1e-1


def test_one_run_tells_the_size_of_all_others() -> None:
    cost = learnt(slow, runs=1)

    assert cost.known
    for texts, longest in SHAPES:
        assert 0.3 < cost.seconds(texts, longest) / slow(texts, longest) < 3


def test_a_run_that_stalled_moves_little() -> None:
    cost = learnt(cpu)
    for _ in range(3):
        cost.learn(8, 64, 100 * cpu(8, 64))
    for _ in range(13):
        cost.learn(1, 8, cpu(1, 8))

    assert cost.seconds(8, 64) < 2 * cpu(8, 64)


def test_a_day_of_short_texts_does_not_forget_what_long_ones_cost() -> None:
    cost = learnt(cpu)
    for _ in range(3_000):
        cost.learn(1, 16, cpu(1, 16))

    assert cost.seconds(1, 400) == pytest.approx(cpu(1, 400), rel=0.2)


def test_a_machine_that_became_slower_is_believed() -> None:
    cost = learnt(cpu)
    for number in range(600):
        texts, longest = SHAPES[number % len(SHAPES)]
        cost.learn(texts, longest, 2 * cpu(texts, longest))

    for texts, longest in SHAPES:
        assert cost.seconds(texts, longest) == pytest.approx(2 * cpu(texts, longest), rel=0.15)


@given(
    st.lists(
        st.tuples(st.integers(1, 256), st.integers(1, 8_192), st.floats(0, 1e3)),
        min_size=1,
        max_size=60,
    )
)
@settings(deadline=None)  # no timing decides a test
def test_whatever_was_measured_more_texts_never_cost_less(
    runs: list[tuple[int, int, float]],
) -> None:
    cost = CostModel()
    for texts, longest, seconds in runs:
        cost.learn(texts, longest, seconds)

    assert cost.per_run >= 0
    assert 0 < cost.seconds(1, 1) <= cost.seconds(2, 1) <= cost.seconds(2, 100)
