from __future__ import annotations

import numpy as np
import pytest

from services.trainer.evaluation.projection import project


def _clusters(rows: int, *, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    points = np.eye(6)[np.arange(rows) % 3] + 0.1 * random.normal(size=(rows, 6))
    unit: np.ndarray = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit.astype(np.float32)


def test_an_embedding_that_did_not_change_stays_in_its_place() -> None:
    before = _clusters(90)
    mirrored = before[:, ::-1] * np.array([1, -1, 1, 1, 1, 1], dtype=np.float32)

    found = project(before, mirrored, seed=0)

    moved = np.linalg.norm(found.before - found.after, axis=1)
    between = np.linalg.norm(found.before[0] - found.before[1])
    # Texts of a cluster may change places within it, never to another one.
    assert np.median(moved) < between / 3
    assert found.before_trust > 0.9
    assert found.after_trust > 0.9


@pytest.mark.parametrize("rows", [1, 2, 5, 40])
def test_any_number_of_texts_has_a_map_and_the_same_again(rows: int) -> None:
    before, after = _clusters(rows), _clusters(rows, seed=1)

    found, again = project(before, after, seed=0), project(before, after, seed=0)

    assert found.before.shape == found.after.shape == (rows, 2)
    assert np.isfinite(found.before).all()
    assert np.isfinite(found.after).all()
    np.testing.assert_array_equal(found.before, again.before)
    np.testing.assert_array_equal(found.after, again.after)


def test_texts_that_are_all_the_same_lie_on_one_point() -> None:
    same = np.ones((5, 3), dtype=np.float32) / np.sqrt(3)

    found = project(same, same, seed=0)

    assert np.isfinite(found.before).all()
    assert np.ptp(found.before) == pytest.approx(0.0, abs=1e-6)
