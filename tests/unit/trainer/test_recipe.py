from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from services.trainer.learning.gauge import is_metric_point
from services.trainer.recipe import RANGES, Hyperparameters, Preset, Shape, plan


def _shape(rows: int, labels: int) -> Shape:
    return Shape(rows=rows, labels=labels, layers=6, max_tokens=256)


def test_what_is_asked_for_is_done() -> None:
    asked = Hyperparameters(
        preset=Preset.THOROUGH,
        epochs=7,
        max_steps=50,
        learning_rate=3e-5,
        head_learning_rate=1e-2,
        batch_size=10,
        warmup=0.2,
        weight_decay=0.0,
        label_smoothing=0.05,
        layer_decay=0.9,
        frozen_layers=2,
        contrastive_weight=0.5,
        contrastive_temperature=0.2,
        anchor_weight=0.1,
        class_balance=1.0,
        average_decay=0.0,
        dropout=0.0,
        token_dropout=0.0,
        max_tokens=32,
        matryoshka_dimensions=(64, 128),
        seed=5,
    )

    chosen = plan(asked, _shape(95, 10))

    assert Hyperparameters(**chosen.hyperparameters()) == asked
    assert chosen.steps(95) == 50


def test_nothing_is_left_open_but_what_the_base_decides() -> None:
    used = plan(Hyperparameters(), _shape(1000, 3)).hyperparameters()

    assert used.keys() | {"dropout"} == RANGES.keys() | {"preset"}
    assert all(
        RANGES[name].least <= value <= RANGES[name].most
        for name, value in used.items()
        if name not in ("preset", "matryoshka_dimensions")
    )
    assert used["matryoshka_dimensions"] == ()


def test_lengths_to_cut_to_are_the_bases_where_none_are_asked_for() -> None:
    shape = replace(_shape(1000, 3), matryoshka_dimensions=(4, *range(8, 80, 8)))

    usual = plan(Hyperparameters(), shape).matryoshka_dimensions
    asked = plan(Hyperparameters(matryoshka_dimensions=[16]), shape).matryoshka_dimensions

    # A caller could ask for eight of them, and for none under 8.
    assert usual == tuple(range(16, 80, 8))
    assert asked == (16,)


def test_no_more_is_frozen_or_read_than_the_base_has() -> None:
    chosen = plan(Hyperparameters(frozen_layers=99, max_tokens=512), _shape(100, 2))

    assert (chosen.frozen_layers, chosen.max_tokens) == (6, 256)


def test_presets_differ_in_what_they_cost() -> None:
    fast, balanced, thorough = (
        plan(Hyperparameters(preset=preset), _shape(800, 4)) for preset in Preset
    )

    assert fast.epochs < balanced.epochs < thorough.epochs
    assert (fast.frozen_layers, balanced.frozen_layers, thorough.frozen_layers) == (3, 0, 0)
    assert fast.folds_fitted == balanced.folds_fitted < thorough.folds_fitted


def test_what_was_asked_for_survives_being_written_down() -> None:
    asked = Hyperparameters(preset=Preset.FAST, epochs=3)
    read = Hyperparameters(**json.loads(json.dumps(asdict(asked))))

    assert plan(read, _shape(800, 4)) == plan(asked, _shape(800, 4))


def test_more_rows_are_seen_less_often() -> None:
    epochs = [
        plan(Hyperparameters(), _shape(rows, 2)).epochs for rows in (250, 1_000, 10_000, 100_000)
    ]

    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] > epochs[-1]


def test_labels_with_few_rows_are_seen_more_often() -> None:
    many, few = (plan(Hyperparameters(), _shape(770, labels)).epochs for labels in (3, 77))

    assert few > many


@pytest.mark.parametrize(
    ("rows", "dev_rows", "folds"), [(999, 0, 1), (1000, 100, 0), (100_000, 2000, 0)]
)
def test_rows_are_cut_off_only_where_there_are_many(rows: int, dev_rows: int, folds: int) -> None:
    chosen = plan(Hyperparameters(), _shape(rows, 3))

    assert (chosen.dev_rows, chosen.folds_fitted) == (dev_rows, folds)


def test_the_rate_rises_and_falls_without_ever_being_zero() -> None:
    chosen = plan(Hyperparameters(epochs=10, batch_size=10), _shape(100, 10))

    rates = [chosen.rate(step, 100) for step in range(100)]

    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) == 1.0
    assert min(rates) > 0.0


@pytest.mark.parametrize(("steps", "points"), [(1, 1), (7, 7), (10, 10), (11, 10), (190, 10)])
def test_measurements_are_ten_where_there_are_steps_and_end_with_the_last(
    steps: int, points: int
) -> None:
    measured = [step for step in range(1, steps + 1) if is_metric_point(step, steps)]

    assert len(measured) == points
    assert measured[-1] == steps
    gaps = [after - before for before, after in zip([0, *measured], measured, strict=False)]
    assert max(gaps) - min(gaps) <= 1
