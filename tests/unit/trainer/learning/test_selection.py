from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.learning.selection import cut_dev, folds, sample
from services.trainer.learning.targets import counts, from_sets, indicators, strata

_NONE = np.array([-1])


def test_dev_holds_each_label_in_proportion() -> None:
    label_ids = np.array([0] * 1000 + [1] * 400 + [2] * 6 + [3])

    learnt, dev = cut_dev(label_ids, _NONE.repeat(1407), 141, seed=0)

    assert np.bincount(label_ids[dev], minlength=4).tolist() == [100, 40, 1, 0]
    assert sorted([*learnt, *dev]) == list(range(1407))


def test_rare_labels_give_their_share_together() -> None:
    label_ids = np.repeat(np.arange(400), [1] * 100 + [4] * 300)

    _, dev = cut_dev(label_ids, _NONE.repeat(1300), 130, seed=0)

    given = np.bincount(label_ids[dev], minlength=400)
    assert given.sum() == 130
    assert given[:100].tolist() == [0] * 100
    assert given.max() == 1


def test_a_label_that_is_mostly_one_text_in_many_forms_is_still_learnt_from() -> None:
    label_ids = np.repeat([0, 1], 1000)
    alone = _NONE.repeat(100)
    groups = np.concatenate([np.repeat([0], 900), alone, np.repeat([1], 900), alone])

    for seed in range(8):
        learnt, _ = cut_dev(label_ids, groups, 200, seed=seed)

        assert np.bincount(label_ids[learnt]).tolist() == [990, 990]


@given(
    rows=st.lists(st.frozensets(st.integers(0, 5), max_size=3), min_size=2, max_size=60),
    groups=st.lists(st.integers(-1, 4), min_size=60, max_size=60),
    share=st.floats(0.1, 0.6),
)
def test_no_label_is_cut_off_to_its_last_row(
    rows: list[frozenset[int]], groups: list[int], share: float
) -> None:
    targets = from_sets([tuple(row) for row in rows], 6)
    firsts = np.array([min(row, default=0) for row in rows])
    numbers = np.array(groups[: len(rows)])

    for answers in (targets, firsts):
        learnt, _ = cut_dev(answers, numbers, round(share * len(rows)), seed=0)

        left = counts(answers[learnt], 6)
        assert np.array_equal(left > 0, counts(answers, 6) > 0)


def test_no_rows_are_cut_off_when_none_are_asked_for() -> None:
    learnt, dev = cut_dev(np.array([0, 1, 0, 1]), _NONE.repeat(4), 0, seed=0)

    assert learnt.tolist() == [0, 1, 2, 3]
    assert dev.size == 0


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 6)), min_size=2, max_size=200),
    seed=st.integers(0, 20),
)
def test_near_duplicates_stay_on_one_side(rows: list[tuple[int, int]], seed: int) -> None:
    label_ids, groups = np.array(rows).T

    learnt, dev = cut_dev(label_ids, groups, max(1, len(rows) // 10), seed=seed)

    assert not set(groups[learnt]) & set(groups[dev]) - {-1}
    assert sorted([*learnt, *dev]) == list(range(len(rows)))
    assert len(learnt) > 0


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 6)), min_size=2, max_size=200),
    count=st.integers(2, 5),
)
def test_each_row_is_in_one_fold_with_its_near_duplicates(
    rows: list[tuple[int, int]], count: int
) -> None:
    label_ids, groups = np.array(rows).T

    parts = folds(label_ids, groups, count, seed=1)

    assert sorted(np.concatenate(parts).tolist()) == list(range(len(rows)))
    for number in set(groups.tolist()) - {-1}:
        assert sum(number in groups[part] for part in parts) == 1


def test_folds_hold_labels_in_proportion() -> None:
    label_ids = np.arange(1000) % 10

    parts = folds(label_ids, _NONE.repeat(1000), 5, seed=0)

    for part in parts:
        assert np.bincount(label_ids[part]).tolist() == [20] * 10


def test_another_seed_cuts_other_rows() -> None:
    label_ids = np.arange(1000) % 10

    first, again, other = (
        cut_dev(label_ids, _NONE.repeat(1000), 100, seed=seed)[1].tolist() for seed in (0, 0, 1)
    )

    assert first == again != other


def test_a_sample_holds_rare_labels() -> None:
    label_ids = np.array([0] * 5000 + [1] * 30 + [2])

    rows = sample(label_ids, 500, seed=0)

    assert np.bincount(label_ids[rows]).tolist() == [497, 20, 1]
    assert sample(label_ids, 9999, seed=0).tolist() == list(range(5031))


def test_several_labels_are_dealt_by_the_rarest() -> None:
    targets = from_sets([(0, 1), (0,), (0, 2), (), (1, 0)], 3)

    assert targets.tolist()[0] == [True, True, False]
    assert counts(targets, 3).tolist() == [4, 2, 1]
    assert strata(targets).tolist() == [1, 0, 2, -1, 1]
    # In parts, of which each knows how rare labels are in all rows.
    assert strata(np.tile(targets, (2000, 1))).tolist() == [1, 0, 2, -1, 1] * 2000
    assert indicators(np.array([2, 0]), 3).tolist() == [[False, False, True], [True, False, False]]
