from __future__ import annotations

import numpy as np
import pytest

from services.trainer.evaluation.reliability import THRESHOLDS, abstention, calibration


def test_a_calibrated_model_stays_within_the_noise_and_a_boastful_one_does_not() -> None:
    random = np.random.default_rng(0)
    within = 0
    for seed in range(40):
        sure = random.uniform(0.4, 1.0, 300)
        found = calibration(sure, random.random(300) < sure, seed=seed)
        within += found.error <= found.noise_limit
        assert 0 < found.noise_floor < found.noise_limit
    boastful = calibration(np.full(300, 0.95), random.random(300) < 0.7, seed=0)

    # 38 are expected; fewer than 34 have a chance of 1 in 60.
    assert within >= 34
    assert boastful.error == pytest.approx(0.25, abs=0.08)
    assert boastful.error > boastful.noise_limit


def test_bins_have_as_many_decisions_each_and_lose_none() -> None:
    sure = np.random.default_rng(1).random(1000)

    found = calibration(sure, sure > 0.5, seed=0)

    counts = [part.count for part in found.bins]
    assert sum(counts) == 1000
    assert max(counts) - min(counts) <= 1
    assert [part.confidence for part in found.bins] == sorted(p.confidence for p in found.bins)


def test_of_very_many_decisions_a_draw_is_looked_at_and_not_the_first() -> None:
    right = np.arange(300_000) < 200_000

    found = calibration(np.full(300_000, 0.9), right, seed=0)

    assert sum(part.count for part in found.bins) == 200_000
    assert found.error == pytest.approx(0.9 - 2 / 3, abs=0.01)


def test_fewer_decisions_than_bins_are_bins_of_one() -> None:
    found = calibration(np.array([0.6, 0.9]), np.array([True, False]), seed=0)

    assert [part.count for part in found.bins] == [1, 1]
    assert found.error == pytest.approx((0.4 + 0.9) / 2)


def test_the_more_is_left_alone_the_less_is_covered() -> None:
    sure = np.array([0.2, 0.55, 0.8, 0.96])
    right = np.array([False, False, True, True])

    found = abstention(sure, right)

    assert [point.threshold for point in found] == list(THRESHOLDS)
    by_threshold = {point.threshold: (point.coverage, point.accuracy) for point in found}
    assert by_threshold[0.0] == (1.0, 0.5)
    assert by_threshold[0.6] == (0.5, 1.0)
    assert by_threshold[0.99] == (0.0, 0.0)
