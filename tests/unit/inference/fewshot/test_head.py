"""A head from few vectors: what it learns, and that one decomposition does what many fits do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.inference.fewshot.head import _Fit, learn


def clusters(
    count: int, *, labels: int, spread: float, dimension: int = 32
) -> tuple[NDArray[np.float32], list[int]]:
    """Return unit vectors around one centre a label, and their labels."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(labels, dimension))
    ids = [number % labels for number in range(count)]
    vectors = centres[ids] + spread * random.normal(size=(count, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), ids


def confidences(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


@pytest.mark.parametrize("labels", [2, 7])
def test_what_lies_apart_is_told_apart(labels: int) -> None:
    vectors, ids = clusters(20 * labels, labels=labels, spread=0.3)
    head = learn(vectors[: 5 * labels], ids[: 5 * labels], labels=labels)

    sure = confidences(head.logits(vectors[5 * labels :]))

    assert sure.argmax(axis=1).tolist() == ids[5 * labels :]
    assert sure.max(axis=1).min() > 1.5 / labels


def test_confidences_are_as_large_as_the_share_that_is_right() -> None:
    vectors, ids = clusters(1200, labels=4, spread=2.0)
    head = learn(vectors[:200], ids[:200], labels=4)

    sure = confidences(head.logits(vectors[200:]))

    right = np.mean(sure.argmax(axis=1) == ids[200:])
    assert 0.8 < right < 0.95
    assert abs(sure.max(axis=1).mean() - right) < 0.1


def test_labels_that_mean_nothing_are_predicted_without_confidence() -> None:
    random = np.random.default_rng(1)
    vectors, _ = clusters(60, labels=3, spread=9.0)
    head = learn(vectors, random.integers(0, 2, 60).tolist(), labels=2)

    assert confidences(head.logits(vectors)).max() < 0.75


def test_scores_without_an_example_are_those_of_a_fit_without_it() -> None:
    vectors, ids = clusters(12, labels=3, spread=1.0, dimension=5)
    wide, targets = vectors.astype(np.float64), np.eye(3)[ids]

    left_out = _Fit(wide, targets).left_out(0.3)

    for number in range(len(ids)):
        rest = np.arange(len(ids)) != number
        # Weights and an intercept without penalty, from the normal equations.
        design = np.hstack([wide[rest], np.ones((rest.sum(), 1))])
        penalty = np.diag([0.3] * 5 + [0.0])
        weights = np.linalg.solve(design.T @ design + penalty, design.T @ targets[rest])
        np.testing.assert_allclose(left_out[number], [*wide[number], 1.0] @ weights, atol=1e-9)


def test_two_examples_of_each_of_two_labels_are_enough_and_equal_ones_no_problem() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]
    head = learn(vectors, [0, 0, 1, 1], labels=2)

    sure = confidences(head.logits(vectors))

    assert sure.argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert np.isfinite(sure).all()


def test_examples_that_are_all_the_same_text_say_nothing() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 0, 0]]

    sure = confidences(learn(vectors, [0, 0, 1, 1], labels=2).logits(vectors))

    np.testing.assert_allclose(sure, 0.5, atol=1e-6)
