from __future__ import annotations

import pytest

from services.trainer.recipe import Hyperparameters, plan


def test_what_is_asked_for_is_done() -> None:
    asked = Hyperparameters(epochs=7, learning_rate=3e-5, batch_size=10, seed=5)

    chosen = plan(asked, rows=95, labels=10)

    assert (chosen.epochs, chosen.learning_rate, chosen.batch_size, chosen.seed) == (7, 3e-5, 10, 5)
    assert chosen.total_steps == 7 * 10


@pytest.mark.parametrize(("rows", "labels", "epochs"), [(250, 2, 8), (1000, 2, 4), (100_000, 2, 3)])
def test_more_rows_are_seen_less_often(rows: int, labels: int, epochs: int) -> None:
    assert plan(Hyperparameters(), rows=rows, labels=labels).epochs == epochs


def test_labels_with_few_rows_are_seen_more_often() -> None:
    assert plan(Hyperparameters(), rows=770, labels=77).epochs == 9
    assert plan(Hyperparameters(), rows=770, labels=3).epochs == 5


def test_rows_are_kept_back_only_where_labels_have_many() -> None:
    assert plan(Hyperparameters(), rows=770, labels=77).calibration_rows == 0
    assert plan(Hyperparameters(), rows=600, labels=3).calibration_rows == 60
    assert plan(Hyperparameters(), rows=100_000, labels=3).calibration_rows == 1000


def test_the_rate_rises_and_falls_without_ever_being_zero() -> None:
    chosen = plan(Hyperparameters(epochs=10, batch_size=10), rows=100, labels=10)

    rates = [chosen.rate(step) for step in range(chosen.total_steps)]

    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) == 1.0
    assert min(rates) > 0.0


@pytest.mark.parametrize(("steps", "points"), [(1, 1), (7, 7), (10, 10), (11, 10), (190, 10)])
def test_measurements_are_ten_where_there_are_steps_and_end_with_the_last(
    steps: int, points: int
) -> None:
    chosen = plan(Hyperparameters(epochs=steps, batch_size=256), rows=2, labels=2)

    measured = [step for step in range(1, steps + 1) if chosen.is_measured(step)]

    assert len(measured) == points
    assert measured[-1] == steps
    gaps = [after - before for before, after in zip([0, *measured], measured, strict=False)]
    assert max(gaps) - min(gaps) <= 1
