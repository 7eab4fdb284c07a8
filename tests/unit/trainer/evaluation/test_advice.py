from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.trainer.evaluation.advice import Topic, advise
from services.trainer.evaluation.assessment import Assessment, Suspicions
from services.trainer.evaluation.geometry import Geometry
from services.trainer.evaluation.learning_curve import CurvePoint, LearningCurve
from services.trainer.evaluation.projection import Projection
from services.trainer.evaluation.scoring import Scored, score
from services.trainer.evaluation.significance import difference

LABELS = ("bill", "card", "refund")
ROWS = 300


def _scored(given: np.ndarray, actual: np.ndarray, *, sure: float = 0.95) -> Scored:
    probabilities = np.full((len(actual), len(LABELS)), (1 - sure) / 2)
    probabilities[np.arange(len(actual)), given] = sure
    return score(
        probabilities,
        actual,
        labels=LABELS,
        thresholds=np.empty(0),
        positive_label=None,
        seed=0,
    )


@pytest.fixture
def good() -> Assessment:
    """Return an assessment in which there is nothing to do, except that the baseline is worse."""
    actual = np.arange(ROWS) % len(LABELS)
    given = actual.copy()
    given[::20] = (given[::20] + 1) % len(LABELS)  # 5 % wrong, as sure as it is right
    worse = actual.copy()
    worse[::5] = (worse[::5] + 1) % len(LABELS)
    tuned, baseline = _scored(given, actual), _scored(worse, actual)
    change = difference(baseline.decisions, tuned.decisions, label=None, seed=0)
    geometry = Geometry(neighbour_accuracy=0.9, neighbour_agreement=0.9, silhouette=0.3)
    points = tuple(
        CurvePoint(rows=rows, accuracy=accuracy, f1=accuracy)
        for rows, accuracy in ((25, 0.8), (50, 0.9), (75, 0.9), (100, 0.901))
    )
    place = np.zeros((1, 2))
    return Assessment(
        labels=LABELS,
        tuned=tuned,
        baseline=baseline,
        neighbours=baseline,
        neighbour_count=5,
        over_baseline=change,
        over_neighbours=change,
        geometry=geometry,
        baseline_geometry=geometry,
        retention=0.8,
        curve=LearningCurve(
            points=points, doubling=0.001, doubling_noise=0.004, label_doubling=(0.0, 0.0, 0.01)
        ),
        worst=(),
        suspicions=Suspicions(errors=(), total=0, examined=100),
        cuts=(),
        projection=Projection(
            rows=np.zeros(1, dtype=int),
            before=place,
            after=place,
            before_trust=1.0,
            after_trust=1.0,
        ),
    )


def _topics(found: Assessment) -> list[Topic]:
    return [piece.topic for piece in advise(found)]


def test_a_good_model_hears_only_that_more_rows_would_help_little(good: Assessment) -> None:
    (piece,) = advise(good)

    assert piece.topic is Topic.MORE_ROWS
    assert piece.message == (
        "From 50 to 100 training rows a simple classifier went from 90.0 to 90.1 % accuracy: "
        "more rows of the same kind would help little."
    )


def test_a_gain_within_chance_is_told_and_so_is_a_loss(good: Assessment) -> None:
    none = difference(good.tuned.decisions, good.tuned.decisions, label=None, seed=0)
    loss = difference(good.tuned.decisions, good.baseline.decisions, label=None, seed=0)

    assert "within chance" in advise(replace(good, over_baseline=none))[0].message
    assert (
        "worse than the untrained baseline" in advise(replace(good, over_baseline=loss))[0].message
    )


def test_more_rows_help_where_a_doubling_gained_more_than_noise(good: Assessment) -> None:
    growing = replace(good.curve, doubling=0.02)
    noisy = replace(growing, doubling_noise=0.011)

    assert "more rows would still help" in advise(replace(good, curve=growing))[0].message
    assert "would help little" in advise(replace(good, curve=noisy))[0].message


def test_labels_that_would_gain_by_rows_are_named(good: Assessment) -> None:
    actual = np.arange(ROWS) % len(LABELS)
    given = actual.copy()
    given[2::9] = 0  # a third of the refunds are taken for bills
    found = replace(
        good,
        tuned=_scored(given, actual, sure=0.9),
        curve=replace(good.curve, label_doubling=(0.0, 0.2, 0.08)),
    )

    pieces = {piece.topic: piece for piece in advise(found)}

    assert pieces[Topic.LABELS_TO_FEED].labels == ("refund",)
    assert "More examples of `refund` would help most" in pieces[Topic.LABELS_TO_FEED].message
    assert pieces[Topic.CONFUSED_LABELS].labels == ("refund", "bill")
    assert "34 of 100 rows" in pieces[Topic.CONFUSED_LABELS].message


def test_suspicious_rows_are_counted(good: Assessment) -> None:
    one = replace(good.suspicions, total=1)

    (piece, _) = advise(replace(good, suspicions=one))

    assert piece.message.startswith("1 of 100 training rows seems to have a wrong label")


@pytest.mark.parametrize(("sure", "says"), [(0.999, "too high"), (0.6, "too low")])
def test_confidences_that_are_off_are_told(good: Assessment, sure: float, says: str) -> None:
    actual = np.arange(ROWS) % len(LABELS)
    given = actual.copy()
    given[::10] = (given[::10] + 1) % len(LABELS)

    found = advise(replace(good, tuned=_scored(given, actual, sure=sure)))

    assert says in next(p.message for p in found if p.topic is Topic.CONFIDENCE)


def test_a_coverage_table_is_named_only_where_there_is_one(good: Assessment) -> None:
    actual = np.arange(ROWS) % len(LABELS)
    given = (actual + (np.arange(ROWS) % 5 == 0)) % len(LABELS)
    boastful = _scored(given, actual, sure=0.999)

    def told(tuned: Scored) -> str:
        found = advise(replace(good, tuned=tuned))
        return next(piece.message for piece in found if piece.topic is Topic.CONFIDENCE)

    assert "coverage table" in told(boastful)
    assert told(replace(boastful, coverage=())).endswith("within chance.")


def test_labels_with_few_scored_rows_are_named_the_fewest_first(good: Assessment) -> None:
    actual = np.array([0] * 10 + [1] * 50 + [2] * 5)

    found = advise(replace(good, tuned=_scored(actual, actual, sure=0.999)))

    assert found[-1].topic is Topic.FEW_SCORED_ROWS
    assert found[-1].labels == ("refund", "bill")
