from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.learning.batches import affordable, length_grouped, paired


@given(
    lengths=st.lists(st.integers(1, 512), min_size=1, max_size=300),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 100),
)
def test_every_row_comes_once_and_batches_are_full(
    lengths: list[int], batch_size: int, seed: int
) -> None:
    batches = length_grouped(np.array(lengths), batch_size, np.random.default_rng(seed))

    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert sorted(map(len, batches))[1:] == [batch_size] * (len(batches) - 1)


def test_like_lengths_share_a_batch() -> None:
    random = np.random.default_rng(0)
    lengths = random.geometric(0.05, 1000)

    batches = length_grouped(lengths, 32, random)

    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert lengths.sum() / padded > 0.9


def test_epochs_differ_and_seeds_repeat() -> None:
    def orders(seed: int) -> list[list[int]]:
        random = np.random.default_rng(seed)
        return [
            [int(row) for batch in length_grouped(np.full(20, 5), 4, random) for row in batch]
            for _ in range(2)
        ]

    first, second = orders(0)

    assert first != second
    assert orders(0) == [first, second]
    assert orders(1) != [first, second]


@given(
    rows=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 5)), min_size=1, max_size=300),
    batch_size=st.integers(2, 40),
)
def test_paired_batches_hold_every_row_once(rows: list[tuple[int, int]], batch_size: int) -> None:
    lengths, label_ids = np.array(rows).T

    batches = paired(lengths, label_ids, batch_size, np.random.default_rng(0))

    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)


def test_in_paired_batches_rows_meet_others_of_their_label() -> None:
    random = np.random.default_rng(0)
    lengths, label_ids = random.geometric(0.1, 770), np.arange(770) % 77

    def meetings(batches: list[np.ndarray]) -> float:
        met = [np.bincount(label_ids[batch])[label_ids[batch]] > 1 for batch in batches]
        return float(np.concatenate(met).mean())

    assert meetings(paired(lengths, label_ids, 32, random)) > 0.95
    assert meetings(length_grouped(lengths, 32, random)) < 0.5


@given(lengths=st.lists(st.integers(1, 9000), min_size=1, max_size=80))
def test_parts_of_a_batch_fit_and_hold_all_of_it(lengths: list[int]) -> None:
    parts = list(affordable(np.array(lengths)))

    assert [row for part in parts for row in range(len(lengths))[part]] == list(range(len(lengths)))
    for part in parts:
        rows = lengths[part]
        assert len(rows) == 1 or max(rows) * len(rows) <= 8192
