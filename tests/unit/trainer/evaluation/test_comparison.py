from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.trainer.evaluation import predictions
from services.trainer.evaluation.comparison import compare
from services.trainer.evaluation.predictions import Predictions
from services.trainer.evaluation.scoring import score

LABELS = ("bad", "good")


def _made(
    folder: Path, texts: list[str], actual: list[int], given: list[int], labels: tuple[str, ...]
) -> Predictions:
    scored = score(
        np.eye(2)[given] * 0.8 + 0.1,
        np.array(actual),
        labels=labels,
        thresholds=np.empty(0),
        positive_label=None,
        seed=0,
    )
    predictions.write(folder / "predictions.parquet", texts, scored, labels)
    return predictions.read((folder / "predictions.parquet").read_bytes())


def test_rows_are_found_again_by_what_they_say_whatever_their_order(tmp_path: Path) -> None:
    first = _made(tmp_path, ["a", "b", "c", "a"], [0, 1, 0, 0], [0, 0, 0, 1], LABELS)
    # The other model has its labels, and the rows, in another order, and never saw `c`.
    second = _made(tmp_path, ["b", "a", "a", "d"], [0, 1, 1, 1], [0, 1, 1, 1], LABELS[::-1])

    found = compare([first, second])

    assert (found.rows, found.left_out) == (3, 2)
    (pair,) = found.pairs
    # `b` and the second `a` were wrong, and are right now.
    assert (pair.difference.only_first, pair.difference.only_second) == (0, 2)
    assert found.spreads[0].accuracy.value == pytest.approx(1 / 3)
    assert found.spreads[1].accuracy.value == 1.0


def test_a_row_that_had_another_label_then_is_left_out(tmp_path: Path) -> None:
    first = _made(tmp_path, ["a", "b"], [0, 1], [0, 1], LABELS)
    second = _made(tmp_path, ["a", "b"], [0, 0], [0, 0], LABELS)

    found = compare([first, second])

    assert (found.rows, found.left_out) == (1, 1)


def test_every_two_of_three_are_compared(tmp_path: Path) -> None:
    three = [
        _made(tmp_path, ["a", "b"], [0, 1], given, LABELS) for given in ([0, 1], [1, 1], [1, 0])
    ]

    found = compare(three)

    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 1), (0, 2), (1, 2)]


def test_models_without_a_common_row_cannot_be_compared(tmp_path: Path) -> None:
    first = _made(tmp_path, ["a", "b"], [0, 1], [0, 1], LABELS)
    second = _made(tmp_path, ["c", "d"], [0, 1], [0, 1], LABELS)

    with pytest.raises(ValueError, match="no row in common"):
        compare([first, second])


def test_no_text_is_kept(tmp_path: Path) -> None:
    _made(tmp_path, ["a secret that nobody may read"] * 2, [0, 1], [0, 1], LABELS)

    content = (tmp_path / "predictions.parquet").read_bytes()

    assert b"secret" not in content
    assert len(set(predictions.read(content).keys)) == 2


def test_several_labels_are_kept_by_name(tmp_path: Path) -> None:
    truth = np.array([[True, True], [False, False]])
    scored = score(
        np.array([[0.9, 0.2], [0.1, 0.2]]),
        truth,
        labels=LABELS,
        thresholds=np.full(2, 0.5),
        positive_label=None,
        seed=0,
    )
    predictions.write(tmp_path / "p.parquet", ["x", "y"], scored, LABELS)

    found = predictions.read((tmp_path / "p.parquet").read_bytes())

    assert found.labels == (("bad", "good"), ())
    assert found.predicted == (("bad",), ())
