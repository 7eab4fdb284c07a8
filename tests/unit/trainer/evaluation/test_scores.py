from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, precision_recall_fscore_support

from services.trainer.evaluation import evaluate, evaluate_sets


def _certain(predicted: list[int], labels: int) -> np.ndarray:
    return np.eye(labels)[predicted]


def test_two_labels_are_told_of_the_positive_one() -> None:
    # spam: 2 of 3 found, and one ham taken for it.
    scores = evaluate(
        probabilities=_certain([1, 1, 0, 1, 0, 0], 2),
        label_ids=np.array([1, 1, 1, 0, 0, 0]),
        labels=["ham", "spam"],
        positive_label="spam",
    )

    assert scores.accuracy == pytest.approx(4 / 6)
    assert (scores.precision, scores.recall) == pytest.approx((2 / 3, 2 / 3))
    assert scores.f1 == pytest.approx(2 / 3)
    assert scores.positive_label == "spam"
    assert [(cell.actual, cell.predicted, cell.count) for cell in scores.confusion] == [
        ("ham", "ham", 2),
        ("ham", "spam", 1),
        ("spam", "ham", 1),
        ("spam", "spam", 2),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(5), 200)
    actual = random.integers(0, 5, 200)
    labels = list("abcde")

    scores = evaluate(
        probabilities=probabilities, label_ids=actual, labels=labels, positive_label=None
    )

    predicted = probabilities.argmax(axis=1)
    for name in ("macro", "micro", "weighted"):
        ours = getattr(scores, name)
        theirs = precision_recall_fscore_support(actual, predicted, average=name)
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(theirs[:3])
    assert (scores.precision, scores.f1) == (scores.macro.precision, scores.macro.f1)
    assert scores.log_loss == pytest.approx(log_loss(actual, probabilities))
    assert scores.samples is None
    each = precision_recall_fscore_support(actual, predicted)
    assert [score.f1 for score in scores.labels] == pytest.approx(list(each[2]))
    assert [score.support for score in scores.labels] == list(each[3])


@pytest.mark.parametrize("seed", range(3))
def test_several_labels_agree_with_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities, thresholds = random.random((200, 4)), random.random(4)
    truth = random.random((200, 4)) < 0.4
    truth[0], probabilities[0] = False, 0.0  # nothing to give, and nothing given: right

    scores = evaluate_sets(
        probabilities=probabilities, truth=truth, thresholds=thresholds, labels=list("abcd")
    )

    given = probabilities >= thresholds
    for name in ("macro", "micro", "weighted"):
        ours = getattr(scores, name)
        theirs = precision_recall_fscore_support(truth, given, average=name)
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(theirs[:3])
    assert scores.samples is not None
    kept = np.asarray(truth.any(axis=1) | given.any(axis=1))
    theirs = precision_recall_fscore_support(
        truth[kept], given[kept], average="samples", zero_division=0
    )
    ours = scores.samples
    expected = [(value * kept.sum() + (~kept).sum()) / len(kept) for value in theirs[:3]]
    assert [ours.precision, ours.recall, ours.f1] == pytest.approx(expected)
    assert scores.accuracy == pytest.approx((truth == given).all(axis=1).mean())
    assert scores.log_loss == pytest.approx(
        -np.log(np.clip(np.where(truth, probabilities, 1 - probabilities), 1e-15, 1)).mean()
    )
    assert scores.confusion == ()


def test_a_label_that_nobody_has_does_not_pull_the_average_down() -> None:
    scores = evaluate(
        probabilities=_certain([0, 1], 3),
        label_ids=np.array([0, 1]),
        labels=["a", "b", "unseen"],
        positive_label=None,
    )

    assert scores.macro.f1 == 1.0
    assert scores.labels[2].support == 0
    assert scores.labels[2].f1 == 0.0


def test_certain_and_wrong_is_a_large_loss_but_a_number() -> None:
    scores = evaluate(
        probabilities=_certain([1], 2),
        label_ids=np.array([0]),
        labels=["a", "b"],
        positive_label=None,
    )

    assert scores.log_loss == pytest.approx(-math.log(1e-15))


def test_refuses_to_score_nothing() -> None:
    with pytest.raises(ValueError, match="no examples"):
        evaluate(
            probabilities=np.empty((0, 2)),
            label_ids=np.empty(0, dtype=np.int64),
            labels=["a", "b"],
            positive_label=None,
        )


@pytest.mark.parametrize(("labels", "positive"), [(["a", "b"], "c"), (["a", "b", "c"], "a")])
def test_refuses_a_positive_label_that_is_not_one_of_two(labels: list[str], positive: str) -> None:
    with pytest.raises(ValueError, match="one of two labels"):
        evaluate(
            probabilities=_certain([0], len(labels)),
            label_ids=np.array([0]),
            labels=labels,
            positive_label=positive,
        )
