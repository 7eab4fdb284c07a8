from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from services.trainer.evaluation.decisions import Decisions
from services.trainer.evaluation.significance import difference, mcnemar, spreads


def _decided(share_right: float, *, rows: int = 400, seed: int = 0) -> Decisions:
    random = np.random.default_rng(seed)
    actual = random.integers(0, 3, rows)
    right = random.random(rows) < share_right
    return Decisions.single(actual, np.where(right, actual, (actual + 1) % 3), 3)


def test_an_interval_is_as_wide_as_theory_has_it() -> None:
    (spread,) = spreads([_decided(0.8)], label=None, seed=0)

    theory = 1.96 * np.sqrt(spread.accuracy.value * (1 - spread.accuracy.value) / 400)
    assert spread.accuracy.high - spread.accuracy.low == pytest.approx(2 * theory, rel=0.15)
    assert spread.accuracy.low < spread.accuracy.value < spread.accuracy.high


@pytest.mark.parametrize("label", [None, 2])
def test_f1_is_scikit_learns(label: int | None) -> None:
    decided = _decided(0.7)

    (spread,) = spreads([decided], label=label, seed=0)

    truth, given = decided.truth.toarray(), decided.given.toarray()
    expected = (
        f1_score(truth, given, average="macro")
        if label is None
        else f1_score(truth[:, label], given[:, label])
    )
    assert spread.f1.value == pytest.approx(expected)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 9), (12, 3), (7, 7), (0, 40)])
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0

    assert mcnemar(first, second) == pytest.approx(expected)


def test_the_better_of_two_models_is_told_from_chance() -> None:
    better, worse = _decided(0.9), _decided(0.7)

    found = difference(worse, better, label=None, seed=0)
    none = difference(better, better, label=None, seed=0)

    assert found.accuracy.value == pytest.approx(better.right.mean() - worse.right.mean())
    assert found.accuracy.low > 0
    assert found.accuracy_p_value < 0.001
    assert found.f1_p_value < 0.01
    assert found.both + found.neither + found.only_first + found.only_second == 400
    assert none.accuracy_p_value == none.f1_p_value == 1.0
    assert (none.accuracy.low, none.accuracy.high) == (0.0, 0.0)


def test_a_label_that_a_draw_lacks_does_not_count_in_it() -> None:
    # One row of a rare label, wholly right: whatever is drawn, every label seen is right.
    labels = np.array([0] * 20 + [1])

    (spread,) = spreads([Decisions.single(labels, labels, 2)], label=None, seed=0)

    assert (spread.f1.low, spread.f1.high) == (1.0, 1.0)


def test_rows_without_labels_are_right_where_none_is_given() -> None:
    decided = Decisions.multiple(
        np.array([[False, False], [True, True], [True, False]]),
        np.array([[False, False], [True, False], [True, False]]),
    )

    assert decided.right.tolist() == [True, False, True]
