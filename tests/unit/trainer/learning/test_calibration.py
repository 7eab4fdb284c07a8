from __future__ import annotations

import numpy as np
import pytest

from services.trainer.head import Floats, probabilities
from services.trainer.learning.calibration import (
    choose,
    fit_temperature,
    fit_thresholds,
    log_loss,
    shared_remark,
)


def _drawn(rows: int, labels: int) -> tuple[Floats, np.ndarray]:
    """Return logits, and labels that were drawn by them."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(rows, labels)).astype(np.float32)
    chances = probabilities(logits, multi_label=False).astype(float)
    label_ids = [random.choice(labels, p=row / row.sum()) for row in chances]
    return logits, np.array(label_ids)


def test_temperature_undoes_an_exaggeration() -> None:
    logits, label_ids = _drawn(4000, 3)

    assert fit_temperature(2.5 * logits, label_ids) == pytest.approx(2.5, rel=0.1)


def test_temperature_undoes_an_exaggeration_of_several_labels() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(2000, 4)).astype(np.float32)
    targets = random.random(logits.shape) < probabilities(logits, multi_label=True)

    assert fit_temperature(2.5 * logits, targets) == pytest.approx(2.5, rel=0.1)


def test_few_rows_hardly_move_the_temperature_and_none_leave_it() -> None:
    logits, label_ids = _drawn(4000, 3)
    right = np.eye(3)[label_ids].astype(np.float32)

    assert fit_temperature(logits[:0], label_ids[:0]) == 1.0
    # Always right and never sure: alone, any number of rows would ask for the least that may be.
    few, many = (fit_temperature(right[:rows], label_ids[:rows]) for rows in (2, 2000))
    assert many < 0.3
    assert few > 0.6


def test_thresholds_are_where_the_f1_is_best() -> None:
    random = np.random.default_rng(0)
    targets = np.zeros((500, 2), dtype=bool)
    targets[::5, 0] = True
    targets[::2, 1] = True
    low = np.where(targets[:, 0], 0.3, 0.1) + random.uniform(-0.05, 0.05, 500)
    high = np.where(targets[:, 1], 0.9, 0.7) + random.uniform(-0.05, 0.05, 500)
    chances = np.stack([low, high], axis=1).astype(np.float32)

    thresholds = fit_thresholds(chances, targets)

    assert ((chances >= thresholds) == targets).all()
    assert thresholds == pytest.approx([0.2, 0.8], abs=0.05)


def test_a_rare_label_takes_the_common_threshold() -> None:
    random = np.random.default_rng(0)
    targets = random.random((400, 3)) < [0.5, 0.5, 0.0]
    chances = np.where(targets, 0.6, 0.4) + random.uniform(-0.05, 0.05, targets.shape)
    targets[7, 2] = True  # beside a chance of 0.4: by itself it would ask for a low threshold

    thresholds = fit_thresholds(chances.astype(np.float32), targets)

    assert thresholds[2] == pytest.approx(0.5, abs=0.06)


def test_two_lucky_rows_choose_no_threshold() -> None:
    chances = np.array([[0.93, 0.1], [0.1, 0.94], [0.91, 0.2]], dtype=np.float32)
    targets = np.array([[True, False], [False, True], [False, False]])

    assert fit_thresholds(chances, targets).tolist() == [0.5, 0.5]


def test_equal_chances_are_given_together_and_no_label_at_all_leaves_one_half() -> None:
    chances = np.full((10, 1), 0.2, dtype=np.float32)
    targets = np.zeros((10, 1), dtype=bool)
    assert fit_thresholds(chances, targets) == [0.5]

    targets[:6] = True

    assert (chances >= fit_thresholds(chances, targets)).all()


def test_thresholds_belong_to_the_temperature_that_is_chosen_with_them() -> None:
    random = np.random.default_rng(0)
    targets = random.random((300, 2)) < 0.4
    noise = random.normal(0, 0.5, targets.shape)
    logits = (np.where(targets, 3.0, -1.0) + noise).astype(np.float32)

    choice = choose(logits, targets)

    chances = probabilities(logits / np.float32(choice.temperature), multi_label=True)
    assert ((chances >= choice.thresholds) == targets).mean() > 0.98
    assert choice.temperature != 1.0


def test_labels_that_few_rows_have_are_told_of() -> None:
    targets = np.zeros((60, 3), dtype=np.bool_)
    targets[:30, 0] = targets[:5, 1] = targets[:4, 2] = True
    logits = np.where(targets, 2.0, -2.0).astype(np.float32)

    assert choose(logits, targets).shared == (2,)
    assert choose(logits, targets.argmax(axis=1)).shared == ()
    assert "have `rare`: the threshold" in shared_remark(["rare"])
    assert "`label 9` and 2 more:" in shared_remark([f"label {number}" for number in range(12)])


def test_the_log_loss_is_that_of_the_right_answer() -> None:
    logits = np.log(np.array([[0.2, 0.8], [0.5, 0.5]], dtype=np.float32))

    assert log_loss(logits, np.array([1, 0])) == pytest.approx(-np.log([0.8, 0.5]).mean())
    assert log_loss(np.zeros((2, 3), np.float32), np.zeros((2, 3), bool)) == pytest.approx(
        np.log(2)
    )
