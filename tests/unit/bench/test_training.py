from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.contenders import OURS, REGRESSION, Outcome
from bench.labelled_sets import Draw, published
from bench.standing import Cell, paired_p, share_to_accuracy, summary
from bench.training import score


def write(data: Path, name: str, rows: int, *, start: int = 0) -> None:
    path = data / "tone" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [f"text {number}", "abc"[number % 3]] for number in range(start, start + rows)
        )


def texts(draw: Draw) -> tuple[set[str], set[str]]:
    return set(draw.train.texts), set(draw.test.texts)


def test_without_a_test_file_each_fold_is_scored_once(tmp_path: Path) -> None:
    write(tmp_path, "train", 50)

    draws = [published(tmp_path, "tone", number) for number in range(5)]

    scored = [text for draw in draws for text in draw.test.texts]
    assert sorted(scored) == sorted({f"text {number}" for number in range(50)})
    for draw in draws:
        learnt, held = texts(draw)
        assert not learnt & held
        assert len(learnt) == 40


def test_a_test_file_is_scored_and_all_rows_are_learnt(tmp_path: Path) -> None:
    write(tmp_path, "train", 30)
    write(tmp_path, "test", 10, start=100)

    learnt, held = texts(published(tmp_path, "tone", 0))

    assert len(learnt) == 30
    assert held == {f"text {number}" for number in range(100, 110)}


def test_a_few_rows_of_each_label_are_drawn_the_same_each_time(tmp_path: Path) -> None:
    write(tmp_path, "train", 60)

    first, again = (published(tmp_path, "tone@4", 0) for _ in range(2))
    other = published(tmp_path, "tone@4", 1)

    assert Counter(first.train.label_ids) == {0: 4, 1: 4, 2: 4}
    assert first == again
    assert texts(first)[0] != texts(other)[0]
    assert len(first.test.texts) == 60 - 12


def cell(right: list[int], *, scored: str = "rows") -> Cell:
    share = float(np.mean(right))
    return Cell(
        rows=10,
        test_rows=len(right),
        scored=scored,
        accuracy=share,
        f1=share,
        log_loss=0.5,
        calibration_error=0.1,
        noise_limit=0.1,
        neighbours=share,
        seconds=2.0,
        cpu_seconds=2.0,
        cap_seconds=0.0,
        threads=1,
        right=right,
    )


def test_a_difference_is_judged_on_the_same_rows() -> None:
    worse, better = [1, 0] * 100, [1, 1, 1, 0] * 50

    assert paired_p([cell(worse)], [cell(better)]) < 0.01
    assert paired_p([cell(better)], [cell(worse)]) < 0.01
    assert paired_p([cell(worse)], [cell(worse)]) == 1.0
    # Two draws on the same rows prove no more than one; on other rows they do.
    few, fewer = [1] * 10, [1] * 8 + [0] * 2
    alike = paired_p([cell(fewer)] * 2, [cell(few)] * 2)
    apart = paired_p(
        [cell(fewer, scored="a"), cell(fewer, scored="b")],
        [cell(few, scored="a"), cell(few, scored="b")],
    )
    assert apart < alike


def test_contenders_are_compared_on_the_draws_that_both_have() -> None:
    cells = {
        REGRESSION: [cell([1, 0, 0, 0])] * 2,
        OURS: [cell([1, 1, 0, 0]), cell([1, 1, 1, 1])],
        "SetFit 1.2": [cell([1, 1, 1, 0])],
    }

    found = summary(cells)

    setfit, regression = found["SetFit 1.2"], found[REGRESSION]
    assert isinstance(setfit, dict)
    assert isinstance(regression, dict)
    assert setfit["draws"] == 1
    assert setfit["ours_minus_it"] == pytest.approx(-25.0)
    assert regression["ours_minus_it"] == pytest.approx(50.0)
    assert regression["least"] == pytest.approx(25.0)


def test_an_outcome_is_scored_row_by_row(tmp_path: Path) -> None:
    write(tmp_path, "train", 30)
    write(tmp_path, "test", 9, start=100)
    draw = published(tmp_path, "tone", 0)
    answers = np.eye(3)[np.asarray(draw.test.label_ids)]
    answers[0] = [1 / 3 + 0.02, 1 / 3 - 0.01, 1 / 3 - 0.01]
    outcome = Outcome(
        probabilities=answers,
        vectors=answers,
        seconds=3.0,
        cpu_seconds=4.0,
        capped=True,
        peak_bytes=7,
    )

    found = score(outcome, draw, threads=2)

    wrong = draw.test.label_ids[0] != 0
    assert found.right == [0 if wrong else 1] + [1] * 8
    assert found.accuracy == pytest.approx(sum(found.right) / 9)
    assert found.cap_seconds == 1200.0
    assert found.peak_bytes == 7


def test_a_peers_accuracy_is_reached_at_the_first_point_that_has_it() -> None:
    course = {
        "points": [
            {"seconds": 9.0, "cpu_seconds": seconds, "accuracy": accuracy}
            for seconds, accuracy in ((0.5, 0.2), (1.0, 0.5), (1.5, 0.4), (2.0, 0.75))
        ]
    }
    mine = replace(cell([1, 1, 1, 0]), course=course)

    assert share_to_accuracy(mine, cell([1, 0])) == pytest.approx(0.5)
    assert share_to_accuracy(mine, cell([1, 1, 1, 0])) == pytest.approx(1.0)
    assert share_to_accuracy(mine, cell([1, 1, 1, 1])) is None
    assert share_to_accuracy(cell([1]), cell([0])) is None
