from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from services.trainer import head as head_module
from services.trainer.calibration import fit_temperature, keep_back
from services.trainer.head import Head, prototypes, tuned_regression


def _clusters(labels: int, rows: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of length 1 around one direction per label."""
    random = np.random.default_rng(0)
    label_ids = np.arange(rows) % labels
    embeddings = np.eye(8)[label_ids] + random.normal(0, noise, (rows, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings.astype(np.float32), label_ids


@pytest.mark.parametrize("labels", [2, 5])
def test_both_heads_tell_clusters_apart(labels: int) -> None:
    embeddings, label_ids = _clusters(labels, 60, 0.1)

    for head in (
        prototypes(embeddings, label_ids, labels),
        tuned_regression(embeddings, label_ids, labels, seed=0),
    ):
        probabilities = head.probabilities(embeddings)
        assert (probabilities.argmax(axis=1) == label_ids).all()
        assert probabilities.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-5)


def test_the_head_of_two_labels_has_the_regressions_own_probabilities() -> None:
    embeddings, label_ids = _clusters(2, 40, 0.8)
    head = tuned_regression(embeddings, label_ids, 2, seed=0)

    # Whatever C was chosen, one of these is it.
    candidates = [
        LogisticRegression(C=strength, max_iter=2000).fit(embeddings, label_ids)
        for strength in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
    ]

    ours = head.probabilities(embeddings)
    assert any(np.abs(model.predict_proba(embeddings) - ours).max() < 1e-4 for model in candidates)


def test_a_label_without_rows_never_wins() -> None:
    embeddings, label_ids = _clusters(2, 20, 0.1)

    head = tuned_regression(embeddings, label_ids, 4, seed=0)

    assert head.weight.shape == (4, 8)
    assert set(head.probabilities(embeddings).argmax(axis=1)) == {0, 1}


def test_labels_with_one_row_each_need_no_folds() -> None:
    embeddings, label_ids = _clusters(4, 4, 0.1)

    head = tuned_regression(embeddings, label_ids, 4, seed=0)

    assert (head.probabilities(embeddings).argmax(axis=1) == label_ids).all()


@pytest.mark.parametrize("rare", [[2], [2, 3], [2, 3, 3]])
def test_rare_labels_do_not_keep_the_others_from_being_tuned(rare: list[int]) -> None:
    embeddings, label_ids = _clusters(2, 80, 0.05)
    rows = np.concatenate([embeddings, np.eye(8, dtype=np.float32)[rare]])
    label_ids = np.concatenate([label_ids, rare])

    chosen = head_module._choose(rows, label_ids, 0)

    # Untuned, it would be 1.
    assert chosen in set(head_module.INVERSE_REGULARISATION) - {1.0}


def test_the_smallest_of_equally_good_strengths_is_chosen() -> None:
    embeddings, label_ids = _clusters(2, 80, 0.05)

    head = tuned_regression(embeddings, label_ids, 2, seed=0)

    # On separable rows every C is right on all folds.
    weakest = LogisticRegression(C=0.1, max_iter=2000).fit(embeddings, label_ids)
    assert head.probabilities(embeddings) == pytest.approx(
        weakest.predict_proba(embeddings), abs=1e-4
    )


def test_temperature_undoes_an_exaggeration() -> None:
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(4000, 3)).astype(np.float32)
    honest = Head(weight=np.eye(3, dtype=np.float32), bias=np.zeros(3, np.float32))
    chances = honest.probabilities(embeddings)
    label_ids = np.array([random.choice(3, p=row / row.sum()) for row in chances.astype(float)])
    exaggerated = Head(weight=2.5 * honest.weight, bias=honest.bias)

    temperature = fit_temperature(exaggerated, embeddings, label_ids)

    assert temperature == pytest.approx(2.5, rel=0.1)


def test_rows_are_kept_back_in_proportion() -> None:
    label_ids = np.array([0] * 100 + [1] * 40 + [2])

    learnt, kept = keep_back(label_ids, 14, seed=0)

    assert np.bincount(label_ids[kept], minlength=3).tolist() == [10, 4, 0]
    assert sorted([*learnt, *kept]) == list(range(141))


def test_no_rows_are_kept_back_when_none_are_asked_for() -> None:
    learnt, kept = keep_back(np.array([0, 1, 0, 1]), 0, seed=0)

    assert learnt.tolist() == [0, 1, 2, 3]
    assert kept.size == 0
