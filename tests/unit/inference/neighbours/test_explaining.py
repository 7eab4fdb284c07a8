from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from services.inference.neighbours.explaining import Explainer, Explanation, NeighbourWish, Scope
from services.inference.neighbours.rows import Rows

# At angles of 0, 60 and 90 degrees to the first text below.
ROWS = Rows(
    vectors=np.array([[1, 0], [0.5, 0.75**0.5], [0, 1]], np.float32),
    places=[4, 6, 8],
    labels=[("a",), ("a", "b"), ()],
)
TEXT = np.array([[1, 0]], np.float32)


def explained(explain: int, scope: Scope | None = None) -> Explanation:
    explainer = Explainer(
        rows=ROWS, row_bytes=0, texts={4: "four", 8: "eight"}, explain=explain, scope=scope
    )
    [found] = explainer.explanations(TEXT)
    return found


def test_neighbours_have_their_place_labels_and_the_text_that_is_known() -> None:
    found = explained(3)

    assert [(near.row, near.labels, near.text) for near in found.neighbours] == [
        (4, ("a",), "four"),
        (6, ("a", "b"), ""),
        (8, (), "eight"),
    ]
    assert [near.similarity for near in found.neighbours] == pytest.approx([1.0, 0.5, 0.0])
    assert found.out_of_scope is None


def test_more_neighbours_than_there_are_rows_are_all_and_take_no_more_room() -> None:
    assert len(explained(20).neighbours) == 3

    sizes = [
        Explainer(rows=ROWS, row_bytes=100, texts={}, explain=count).text_bytes
        for count in (2, 3, 20)
    ]

    assert sizes[0] < sizes[1] == sizes[2]


@pytest.mark.parametrize(("nearest", "similarity"), [(1, 1.0), (2, 0.5), (3, 0.0)])
def test_the_row_that_counts_is_the_one_that_is_said(nearest: int, similarity: float) -> None:
    found = explained(1, Scope(nearest=nearest, held_out_cosines=[0.0, 1.0]))

    assert len(found.neighbours) == 1
    assert found.out_of_scope is not None
    assert found.out_of_scope.similarity == pytest.approx(similarity)
    assert found.out_of_scope.score == pytest.approx(1.0 - similarity)


@pytest.mark.parametrize(
    ("held_out", "cosine", "score"),
    [
        ([0.0, 0.5, 1.0], -1.0, 1.0),  # farther away than all
        ([0.0, 0.5, 1.0], 0.25, 0.75),  # between two
        ([0.0, 0.5, 0.9], 0.95, 0.0),  # nearer than all
        ([0.2, 0.5, 0.5, 0.5, 1.0], 0.5, 0.25),  # who is equally near is not nearer
        ([0.5, 0.5], 0.5, 0.0),
        ([0.5, 0.5], 0.4, 1.0),
    ],
)
def test_the_score_is_the_share_that_is_nearer(
    held_out: Sequence[float], cosine: float, score: float
) -> None:
    scope = Scope(nearest=1, held_out_cosines=held_out)

    assert scope.scores(np.array([cosine], np.float32)).tolist() == pytest.approx([score])


def test_a_wish_names_what_it_is_for() -> None:
    assert NeighbourWish().fields == ()
    assert NeighbourWish(explain=1, out_of_scope=True).fields == ("explain", "out_of_scope")
