from __future__ import annotations

from services.trainer.forecast import Forecast


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def forecast(clock: Clock) -> Forecast:
    return Forecast(parameters=22_700_000, rows=1000, held_out=100, clock=clock)


def test_nothing_is_promised_before_something_was_measured() -> None:
    clock = Clock()

    told = forecast(clock).trained(step=0, total_steps=90, epoch=0, total_epochs=3, eta=None)

    assert told.eta_seconds is None
    assert told.fraction == 0


def test_the_time_left_counts_scoring_and_export() -> None:
    clock = Clock()
    run = forecast(clock)
    clock.now += 30

    told = run.trained(step=45, total_steps=90, epoch=1.5, total_epochs=3, eta=30)

    # 30 s to learn; 20 ms a row and pass make 100 rows, four forward passes, 2.7 s; the export.
    assert told.eta_seconds is not None
    assert 30 + 2.7 + 8 < told.eta_seconds < 90
    assert told.fraction == 30 / (30 + told.eta_seconds)


def test_the_fraction_never_falls_and_ends_below_one() -> None:
    clock = Clock()
    run = forecast(clock)
    fractions = []
    for step, eta in ((1, 10.0), (2, 80.0), (50, 40.0), (89, 1.0)):
        clock.now += 10
        told = run.trained(step=step, total_steps=90, epoch=step / 30, total_epochs=3, eta=eta)
        fractions.append(told.fraction)
    for tell in (run.scoring, run.exporting, run.uploading):
        clock.now += 5
        fractions.append(tell().fraction)

    assert fractions == sorted(fractions)
    assert fractions[-1] < 1


def test_what_earlier_attempts_did_counts_as_done() -> None:
    clock = Clock()
    run = forecast(clock)
    run.trained(step=60, total_steps=90, epoch=2, total_epochs=3, eta=None)
    clock.now += 10

    told = run.trained(step=70, total_steps=90, epoch=2.3, total_epochs=3, eta=20)

    # A second a step: 60 s before this attempt, and 10 s of its own.
    assert told.eta_seconds is not None
    assert told.fraction == 70 / (70 + told.eta_seconds)


def test_after_the_training_the_steps_stay_told() -> None:
    clock = Clock()
    run = forecast(clock)
    run.trained(step=90, total_steps=90, epoch=3, total_epochs=3, eta=0)

    told = run.exporting()

    assert (told.step, told.total_steps, told.epoch) == (90, 90, 3)
