from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from services.trainer.head import FormerHead, Head, prototypes
from services.trainer.learning import regression as regression_module
from services.trainer.learning.regression import tuned_regression


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
        tuned_regression(embeddings, label_ids, labels, seed=0).head,
    ):
        probabilities = head.probabilities(embeddings)
        assert (probabilities.argmax(axis=1) == label_ids).all()
        assert probabilities.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-5)


def test_the_head_of_two_labels_has_the_regressions_own_probabilities() -> None:
    embeddings, label_ids = _clusters(2, 40, 0.8)
    head = tuned_regression(embeddings, label_ids, 2, seed=0).head

    # Whatever C was chosen, one of these is it.
    candidates = [
        LogisticRegression(C=strength, max_iter=2000).fit(embeddings, label_ids)
        for strength in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
    ]

    ours = head.probabilities(embeddings)
    assert any(np.abs(model.predict_proba(embeddings) - ours).max() < 1e-4 for model in candidates)


def test_a_label_without_rows_never_wins() -> None:
    embeddings, label_ids = _clusters(2, 20, 0.1)

    head = tuned_regression(embeddings, label_ids, 4, seed=0).head

    assert head.weight.shape == (4, 8)
    assert set(head.probabilities(embeddings).argmax(axis=1)) == {0, 1}


def test_labels_with_one_row_each_need_no_folds() -> None:
    embeddings, label_ids = _clusters(4, 4, 0.1)

    head = tuned_regression(embeddings, label_ids, 4, seed=0).head

    assert (head.probabilities(embeddings).argmax(axis=1) == label_ids).all()


@pytest.mark.parametrize("rare", [[2], [2, 3], [2, 3, 3]])
def test_rare_labels_do_not_keep_the_others_from_being_tuned(rare: list[int]) -> None:
    embeddings, label_ids = _clusters(2, 80, 0.05)
    rows = np.concatenate([embeddings, np.eye(8, dtype=np.float32)[rare]])
    label_ids = np.concatenate([label_ids, rare])

    chosen = regression_module._choose(rows, label_ids, 0)

    # Untuned, it would be 1.
    assert chosen in set(regression_module.INVERSE_REGULARISATION) - {1.0}


def test_the_smallest_of_equally_good_strengths_is_chosen() -> None:
    embeddings, label_ids = _clusters(2, 80, 0.05)

    head = tuned_regression(embeddings, label_ids, 2, seed=0).head

    # On separable rows every C is right on all folds.
    weakest = LogisticRegression(C=0.1, max_iter=2000).fit(embeddings, label_ids)
    assert head.probabilities(embeddings) == pytest.approx(
        weakest.predict_proba(embeddings), abs=1e-4
    )


def _several(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows between the directions of the labels that they have: 0 to 3 of 3."""
    random = np.random.default_rng(0)
    targets = random.random((rows, 3)) < [0.5, 0.3, 0.2]
    embeddings = targets @ np.eye(8)[:3] + 0.3 * np.eye(8)[7] + random.normal(0, 0.1, (rows, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings.astype(np.float32), targets


def test_both_heads_judge_each_of_several_labels_by_itself() -> None:
    embeddings, targets = _several(300)
    unseen, truth = embeddings[200:], targets[200:]

    first = prototypes(embeddings[:200], targets[:200], 3)
    fitted = tuned_regression(embeddings[:200], targets[:200], 3, seed=0)

    assert ((first.probabilities(unseen) > 0.5) == truth).mean() > 0.9
    assert ((fitted.head.probabilities(unseen) > fitted.thresholds) == truth).mean() > 0.97
    assert fitted.head.probabilities(unseen).sum(axis=1).max() > 1.5


def test_several_labels_are_fitted_as_each_would_be_alone() -> None:
    embeddings, targets = _several(200)

    *_, head = regression_module._path(embeddings, targets, (3.0, 10.0))

    for label in range(3):
        alone = LogisticRegression(C=10, max_iter=2000, tol=1e-8).fit(embeddings, targets[:, label])
        assert head.probabilities(embeddings)[:, label] == pytest.approx(
            alone.predict_proba(embeddings)[:, 1], abs=2e-3
        )


def test_of_several_labels_one_without_rows_is_never_given_and_one_that_all_have_always() -> None:
    embeddings, targets = _several(100)
    targets = np.hstack([targets, np.zeros((100, 1), bool), np.ones((100, 1), bool)])

    first = prototypes(embeddings, targets, 5)
    fitted = tuned_regression(embeddings, targets, 5, seed=0)

    assert first.probabilities(embeddings)[:, 3].max() == 0
    assert fitted.head.probabilities(embeddings)[:, 3].max() == 0
    assert (fitted.head.probabilities(embeddings)[:, 4] >= fitted.thresholds[4]).all()


def test_a_former_head_keeps_what_it_knows_and_new_labels_become_as_loud() -> None:
    former = FormerHead(
        labels=("bad", "good"),
        head=Head(
            weight=np.array([[3.0, 0.0], [0.0, 5.0]], dtype=np.float32),
            bias=np.array([0.5, -0.1], dtype=np.float32),
        ),
    )
    start = Head(
        weight=np.array([[0.0, 1.0], [6.0, 8.0], [1.0, 0.0]], dtype=np.float32),
        bias=np.zeros(3, dtype=np.float32),
    )

    head = former.onto(start, ("good", "new", "bad"))

    np.testing.assert_array_equal(head.weight, [[0.0, 5.0], [6.0, 8.0], [3.0, 0.0]])
    np.testing.assert_allclose(head.bias[[0, 2]], [-0.1, 0.5], rtol=1e-6)
    # 4.9 and 3.5 are the known ones' logits for their own means: 4.2 is the new one's.
    assert head.logits(np.array([[0.6, 0.8]], dtype=np.float32))[0, 1] == pytest.approx(4.2)


def test_labels_that_are_judged_alone_do_not_mind_each_other() -> None:
    weight, bias = np.eye(2, dtype=np.float32), np.array([-1.0, -2.0], dtype=np.float32)
    former = FormerHead(
        labels=("old",), head=Head(weight=weight[:1] * 9, bias=bias[:1] * 9, multi_label=True)
    )

    head = former.onto(Head(weight=weight, bias=bias, multi_label=True), ("new", "old"))

    np.testing.assert_array_equal(head.weight, [[1.0, 0.0], [9.0, 0.0]])
    np.testing.assert_array_equal(head.bias, [-1.0, -9.0])


def test_a_former_head_is_left_where_nothing_of_it_fits() -> None:
    weight, bias = np.eye(2, dtype=np.float32), np.zeros(2, dtype=np.float32)
    former = FormerHead(labels=("bad", "good"), head=Head(weight=weight * 9, bias=bias))
    start = Head(weight=weight, bias=bias)
    several = Head(weight=weight, bias=bias, multi_label=True)

    assert former.onto(start, ("old", "new")) is start
    assert former.onto(several, ("bad", "good")) is several
