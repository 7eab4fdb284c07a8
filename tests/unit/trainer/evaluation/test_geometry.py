from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from services.trainer.evaluation.geometry import (
    describe,
    nearest,
    neighbour_share,
    retention,
    silhouette,
)


def _points(rows: int, *, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(rows, 8))
    unit: np.ndarray = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit


def test_neighbours_are_others() -> None:
    angles = np.array([0.0, 0.1, 0.2, 3.0, 3.1])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    # The third point's nearest is the second, of its own label; the fourth and fifth differ.
    share = neighbour_share(embeddings, np.array([0, 0, 0, 1, 2]), neighbours=1)

    assert share == pytest.approx(3 / 5)


def test_neighbours_over_several_blocks_are_the_same_as_by_hand() -> None:
    embeddings = _points(1500)
    label_ids = np.random.default_rng(1).integers(0, 3, 1500)

    share = neighbour_share(embeddings, label_ids, neighbours=5)

    cosines = embeddings @ embeddings.T
    np.fill_diagonal(cosines, -np.inf)
    by_hand = np.argsort(-cosines, axis=1)[:, :5]
    assert share == pytest.approx((label_ids[by_hand] == label_ids[:, None]).mean())
    np.testing.assert_array_equal(nearest(embeddings, 5), by_hand)


def test_one_text_has_no_neighbours() -> None:
    assert neighbour_share(np.ones((1, 1)), np.array([0])) == 0.0
    alone = describe(np.ones((1, 1)), np.ones((1, 2), dtype=bool), single=True, seed=0)
    assert (alone.neighbour_accuracy, alone.silhouette) == (0.0, None)


@pytest.mark.parametrize("seed", range(3))
def test_the_silhouette_is_scikit_learns(seed: int) -> None:
    embeddings = _points(80, seed=seed)
    label_ids = np.random.default_rng(seed).integers(0, 6, 80)
    label_ids[0] = 9  # a text that has its label alone

    found = silhouette(embeddings, label_ids)

    assert found == pytest.approx(silhouette_score(embeddings, label_ids, metric="cosine"))


def test_the_silhouette_of_many_texts_is_that_of_a_draw_and_not_of_the_first() -> None:
    # As they come out of a file that was sorted by label.
    truth = np.eye(2, dtype=bool)[np.repeat([0, 1], [2000, 400])]

    found = describe(_points(2400), truth, single=True, seed=0)

    assert found.silhouette is not None


def test_labels_that_cannot_be_told_apart_have_no_silhouette() -> None:
    assert silhouette(_points(4), np.zeros(4, dtype=int)) is None
    assert silhouette(_points(4), np.arange(4)) is None


def test_five_neighbours_vote_and_the_nearest_decides_between_equals() -> None:
    angles = np.array([0.0, 0.01, 0.02, 0.5, 0.52, 0.54])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    truth = np.eye(2, dtype=bool)[[0, 0, 0, 1, 1, 1]]

    found = describe(embeddings, truth, single=True, seed=0)

    # Five of five others vote: two of the own label against three, for every text.
    assert found.neighbour_accuracy == 0.0
    assert found.neighbour_agreement == 1.0


def test_with_several_labels_each_label_is_voted_on() -> None:
    centre = np.repeat(np.eye(2), 10, axis=0)
    embeddings = centre + 0.01 * np.random.default_rng(0).normal(size=(20, 2))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    truth = np.repeat(np.array([[True, True, False], [False, False, False]]), 10, axis=0)

    found = describe(embeddings, truth, single=False, seed=0)

    assert found.neighbour_accuracy == 1.0
    assert found.silhouette is None


def test_retention_is_whole_under_rotation_and_lost_in_noise() -> None:
    before = _points(60)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))

    assert retention(before, before @ rotation) == pytest.approx(1.0, abs=1e-6)
    assert abs(retention(before, _points(60, seed=7))) < 0.2
