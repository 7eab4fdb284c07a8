from __future__ import annotations

from services.inference.engines.restarts import Restarts


def pauses(*, was_up: bool, count: int) -> list[float]:
    restarts = Restarts()
    return [restarts.pause(was_up=was_up, seconds=0.1) for _ in range(count)]


def test_one_that_cannot_be_brought_up_is_given_longer_and_longer_pauses() -> None:
    assert pauses(was_up=False, count=8) == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert pauses(was_up=False, count=5_000)[-1] == 30.0


def test_one_that_dies_soon_after_it_was_up_is_started_at_once_some_times() -> None:
    assert pauses(was_up=True, count=8) == [0.0, 0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 4.0]


def test_one_that_lived_long_is_started_at_once_and_forgiven_what_was_before() -> None:
    restarts = Restarts()
    for _ in range(6):
        restarts.pause(was_up=True, seconds=1.0)

    assert restarts.pause(was_up=True, seconds=60.0) == 0.0
    assert restarts.pause(was_up=True, seconds=1.0) == 0.0
    # A load that took long and failed is no life.
    assert restarts.pause(was_up=False, seconds=60.0) == 1.0
