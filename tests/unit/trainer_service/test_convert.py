from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from isogloss.v1.hyperparameters_pb2 import Hyperparameters
from isogloss.v1.model_event_pb2 import ModelEvent
from isogloss.v1.model_pb2 import Model
from isogloss.v1.model_service_pb2 import ListModelsRequest, UpdateModelRequest
from services.common.errors import InvalidArgument
from services.trainer import convert
from services.trainer.control import Change
from services.trainer.history import Kind
from services.trainer.hyperparameters_proto import hyperparameters_from_proto
from services.trainer.models import Filter, draft
from services.trainer.requests import change, event_kinds, model_filter
from services.trainer.state import State
from tests.unit.trainer_service.desk import new_model

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def test_what_was_set_is_kept_and_what_was_not_stays_open() -> None:
    asked = Hyperparameters(seed=0, learning_rate=3e-5, matryoshka_dimensions=[64, 128])

    fields = hyperparameters_from_proto(asked)

    assert fields == {"seed": 0, "learning_rate": 3e-5, "matryoshka_dimensions": [64, 128]}
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


def test_a_model_that_waits_tells_its_place_and_what_it_will_need() -> None:
    row = draft(new_model("tone-abcdef", webhook_uri="https://hooks.example/x"), MOMENT)
    row.estimate = {"seconds": 90.5, "peak_memory_bytes": 1_700_000_000, "total_steps": 105}

    message = convert.model(row, queue_position=3)

    assert message.queue_position == 3
    assert message.estimate.duration.ToMilliseconds() == 90_500
    assert message.estimate.total_steps == 105
    assert message.webhook_uri == "https://hooks.example/x"
    assert message.etag == row.etag


def test_a_change_is_what_the_mask_names_or_what_is_set() -> None:
    wanted = Model(name="models/tone-abcdef", display_name="New", etag="e")

    assert change(UpdateModelRequest(model=wanted)) == Change(display_name="New", etag="e")
    assert change(
        UpdateModelRequest(model=wanted, update_mask=FieldMask(paths=["webhook_uri"]))
    ) == Change(webhook_uri="", etag="e")
    assert change(UpdateModelRequest(model=wanted, update_mask=FieldMask(paths=["*"]))) == Change(
        display_name="New", webhook_uri="", etag="e"
    )


@pytest.mark.parametrize("paths", [[], ["dataset"], ["display_name", "state"]])
def test_what_cannot_be_changed_is_refused_by_name(paths: list[str]) -> None:
    request = UpdateModelRequest(
        model=Model(name="models/tone-abcdef"), update_mask=FieldMask(paths=paths)
    )
    with pytest.raises(InvalidArgument, match="only display_name and webhook_uri can"):
        change(request)


def test_everything_wrong_with_a_filter_is_told_at_once() -> None:
    with pytest.raises(InvalidArgument) as refused:
        model_filter(
            ListModelsRequest(
                states=[Model.STATE_UNSPECIFIED, Model.STATE_READY],
                query="x" * 101,
                dataset="tone-abcdef",
                base_model="datasets/small",
            )
        )

    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["states[0]", "query", "dataset", "base_model"]


def test_a_filter_names_each_state_and_kind_once() -> None:
    found = model_filter(
        ListModelsRequest(
            states=[Model.STATE_READY, Model.STATE_READY], dataset="datasets/d-abcdef"
        )
    )

    assert found == Filter(states=(State.READY,), dataset="d-abcdef")
    assert event_kinds([ModelEvent.KIND_LOG_LINE] * 2) == (Kind.LOGGED,)
    assert set(event_kinds(ModelEvent.Kind.values()[1:])) == set(Kind)
    with pytest.raises(InvalidArgument, match="KIND_STATE_CHANGE"):
        event_kinds([0])
