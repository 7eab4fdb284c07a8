from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from isogloss.v1.evaluation_pb2 import ClassificationMetrics
from isogloss.v1.hyperparameters_pb2 import Hyperparameters
from isogloss.v1.model_pb2 import Model
from isogloss.v1.split_pb2 import Split
from services.common.errors import InvalidArgument
from services.trainer import convert
from services.trainer.evaluation import evaluate
from services.trainer.models import draft
from services.trainer.state import State
from tests.unit.trainer_service.desk import new_model

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def test_what_was_set_is_kept_and_what_was_not_stays_open() -> None:
    asked = Hyperparameters(seed=0, learning_rate=3e-5)

    fields = hyperparameters_from_proto(asked)

    assert fields == {"seed": 0, "learning_rate": 3e-5}
    assert Hyperparameters(**fields) == asked


def test_every_state_of_the_domain_is_one_of_the_contract() -> None:
    assert {f"STATE_{state}" for state in State} == set(Model.State.keys()) - {"STATE_UNSPECIFIED"}


def test_a_fresh_model_has_no_outputs() -> None:
    message = convert.model(draft(new_model("tone-abcdef"), MOMENT))

    assert message.name == "models/tone-abcdef"
    assert message.state == Model.State.STATE_QUEUED
    assert message.create_time.ToDatetime(UTC) == MOMENT
    for field in ("error", "progress", "latest_metrics", "start_time", "end_time"):
        assert not message.HasField(field)


def test_a_failed_model_carries_a_status() -> None:
    row = draft(new_model("tone-abcdef"), MOMENT)
    row.state, row.error, row.progress = State.FAILED, "The loss is no longer a number.", None

    message = convert.model(row)

    assert message.error.message == "The loss is no longer a number."
    assert len(message.error.details) == 1


def test_progress_without_a_measurement_has_no_eta() -> None:
    fields = {
        "step": 1,
        "total_steps": 2,
        "epoch": 0.5,
        "total_epochs": 1.0,
        "fraction": 0.25,
        "eta_seconds": None,
    }

    assert not convert.progress(fields).HasField("eta")
    assert convert.progress({**fields, "eta_seconds": 1.5}).eta.ToMilliseconds() == 1500


@pytest.mark.parametrize("positive_label", [None, "yes"])
def test_scores_keep_their_labels_and_their_headline(positive_label: str | None) -> None:
    scores = evaluate(
        probabilities=np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]),
        label_ids=np.array([0, 1, 0, 0]),
        labels=["no", "yes"],
        positive_label=positive_label,
    )

    message = convert.metrics(scores)

    assert message.accuracy == 0.75
    assert [entry.label for entry in message.labels] == ["no", "yes"]
    cells = {(cell.actual, cell.predicted): cell.count for cell in message.confusion}
    assert cells == {(0, 0): 2, (0, 1): 1, (1, 1): 1}
    assert [cell.count for cell in message.confusion] == [2, 1, 1]
    headline = next(entry for entry in message.averages if entry.averaging == message.headline)
    assert (headline.precision, headline.f1) == (message.precision, message.f1)
    binary = ClassificationMetrics.AVERAGING_BINARY
    assert (message.headline == binary) is (positive_label is not None)


def test_an_evaluation_tells_model_and_split() -> None:
    scores = evaluate(
        probabilities=np.array([[1.0, 0.0]]),
        label_ids=np.array([0]),
        labels=["no", "yes"],
        positive_label=None,
    )

    message = convert.evaluation(
        model="tone-abcdef",
        split="validation",
        tuned=scores,
        baseline=replace(scores, accuracy=0.5),
        agreement=(0.9, 0.4),
        moment=MOMENT,
    )

    assert message.name == "models/tone-abcdef/evaluation"
    assert message.split == Split.SPLIT_VALIDATION
    assert (message.metrics.accuracy, message.baseline.accuracy) == (1.0, 0.5)
    assert (message.neighbor_agreement, message.baseline_neighbor_agreement) == (0.9, 0.4)


def test_the_name_of_an_evaluation_is_the_models_and_a_suffix() -> None:
    assert convert.evaluated_model("models/tone-abcdef/evaluation") == "tone-abcdef"
    with pytest.raises(InvalidArgument, match="models/ID/evaluation"):
        convert.evaluated_model("models/tone-abcdef")
