"""What is learnt about training rows: suspicious labels, what more rows would bring, neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from services.trainer.evaluation import label_errors, learning_curve, neighbours
from services.trainer.evaluation.heads import affordable, cross_validated, fitted_probabilities

LABELS = 4


def _clusters(rows: int, *, spread: float = 0.25, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings around one centre a label, and the labels."""
    random = np.random.default_rng(seed)
    label_ids = np.arange(rows) % LABELS
    points = np.eye(8)[label_ids] + spread * random.normal(size=(rows, 8))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32), label_ids


def _truth(label_ids: np.ndarray) -> np.ndarray:
    truth: np.ndarray = np.eye(LABELS, dtype=bool)[label_ids]
    return truth


def test_labels_that_were_changed_are_found_and_others_are_left_alone() -> None:
    embeddings, label_ids = _clusters(200)
    changed = np.arange(0, 200, 19)
    told = label_ids.copy()
    told[changed] = (told[changed] + 1) % LABELS

    said = cross_validated(embeddings, _truth(told), single=True, seed=0)
    found = label_errors.find(said, _truth(told), single=True)

    # One of the eleven lies so far out that it could be of any label.
    assert len({error.row for error in found} & set(changed.tolist())) >= len(changed) - 1
    assert len(found) <= len(changed) + 4
    confidences = [error.confidence for error in found]
    assert confidences == sorted(confidences)
    first = found[0]
    assert first.suggested == (label_ids[first.row],)
    assert first.given == (told[first.row],)


def test_each_of_several_labels_is_judged_alone() -> None:
    embeddings, label_ids = _clusters(200)
    told = _truth(label_ids) | (np.arange(200) % 2 == 0)[:, None] & (np.arange(LABELS) == 3)
    embeddings = np.column_stack([embeddings, (np.arange(200) % 2 == 0) * 0.8]).astype(np.float32)
    changed = told.copy()
    changed[8, 3] = False  # it has the mark of label 3
    changed[5, 2] = True  # it has nothing of label 2

    said = cross_validated(embeddings, changed, single=False, seed=0)
    found = {error.row: error for error in label_errors.find(said, changed, single=False)}

    assert 3 in found[8].suggested
    assert 2 not in found[5].suggested
    assert len(found) <= 8


def test_rows_without_suspicion_leave_none() -> None:
    truth = _truth(np.arange(40) % LABELS)

    assert label_errors.find(truth * 0.9 + 0.025, truth, single=True) == []


def test_who_has_a_label_alone_is_not_judged() -> None:
    truth = np.eye(3, dtype=bool)[[0, 0, 1, 1, 2]]
    said = np.where(truth, 0.9, 0.05)
    # From heads that learnt from the others.
    said[4] = [0.95, 0.05, 0.0]
    apart = said.copy()
    apart[4, 0] = 0.05

    assert label_errors.find(said, truth, single=True) == []
    assert label_errors.find(apart, truth, single=False) == []
    assert label_errors.find(1 - apart, ~truth, single=False) == []


def test_a_label_without_rows_is_never_suggested() -> None:
    embeddings, label_ids = _clusters(60)
    truth = np.column_stack([_truth(label_ids), np.zeros(60, dtype=bool)])

    said = cross_validated(embeddings, truth, single=True, seed=0)
    found = label_errors.find(said, truth, single=True)

    assert said[:, LABELS].max() == 0.0
    assert all(LABELS not in error.suggested for error in found)


def test_heads_of_one_label_are_sure_of_it() -> None:
    embeddings, _ = _clusters(8)
    alone = np.zeros((8, LABELS), dtype=bool)
    alone[:, 2] = True

    for single in (True, False):
        said = fitted_probabilities(embeddings, alone, embeddings, single=single)
        np.testing.assert_array_equal(said, alone.astype(float))


def test_the_rows_of_a_fit_are_bounded_by_labels_and_dimensions() -> None:
    assert affordable(10_003, 77, 384) == 10_003
    assert affordable(800_000, 3, 384) == 20_000
    assert affordable(800_000, 1_000, 768) == 5_000


def test_more_rows_help_where_clusters_are_wide() -> None:
    asked, asked_ids = _clusters(400, spread=0.6, seed=9)

    def curve(rows: int, spread: float) -> learning_curve.LearningCurve:
        embeddings, label_ids = _clusters(rows, spread=spread)
        return learning_curve.measure(
            embeddings, _truth(label_ids), asked, _truth(asked_ids), single=True, seed=0
        )

    few, plenty = curve(40, 0.6), curve(2000, 0.6)

    assert [point.rows for point in few.points] == [10, 20, 30, 40]
    assert few.doubling > plenty.doubling
    assert few.points[-1].accuracy < plenty.points[-1].accuracy
    assert len(few.label_doubling) == LABELS
    assert abs(plenty.doubling) < 0.02


def test_every_label_has_a_row_in_every_part_and_parts_are_as_large_as_they_say() -> None:
    # Three rows a label: a quarter of them is less than one, a half is no whole number.
    embeddings, label_ids = _clusters(12)

    found = learning_curve.measure(
        embeddings, _truth(label_ids), embeddings, _truth(label_ids), single=True, seed=0
    )

    assert [point.rows for point in found.points] == [4, 6, 9, 12]
    assert found.points[0].accuracy > 0.5


@pytest.mark.parametrize("single", [True, False])
def test_neighbours_vote_for_their_labels(*, single: bool) -> None:
    embeddings, label_ids = _clusters(200)
    asked, asked_ids = _clusters(80, seed=5)

    found = neighbours.vote(embeddings, _truth(label_ids), asked, single=single, seed=0)

    assert found.count in neighbours.COUNTS
    assert (found.probabilities.argmax(axis=1) == asked_ids).mean() > 0.9
    assert (found.probabilities > 0).all()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_three_rows_have_neighbours_too() -> None:
    embeddings, label_ids = _clusters(3)

    found = neighbours.vote(embeddings, _truth(label_ids), embeddings, single=True, seed=0)

    assert found.count == 1
    assert (found.probabilities.argmax(axis=1) == label_ids).all()
