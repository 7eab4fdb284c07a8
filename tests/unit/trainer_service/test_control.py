"""Pausing, resuming, renaming: what callers do to a model, and what its trainer makes of it."""

from __future__ import annotations

import time
from dataclasses import asdict

import pytest

from services.common.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from services.common.leases import LeaseLost
from services.trainer.bell import Bell
from services.trainer.control import Change
from services.trainer.messages import Entered, Progressed
from services.trainer.models import Models, Request
from services.trainer.queue import Published, Run, RunQueue
from services.trainer.quota import Quota
from services.trainer.state import State
from tests.unit.trainer_service.desk import Desk, new_model

TENANT, MODEL = "default", "tone-abcdef"
PROGRESSED = Progressed(
    step=1, total_steps=2, epoch=0.5, total_epochs=1, fraction=0.4, eta_seconds=3.0
)
PUBLISHED = Published(variants=[], dimension=1, max_tokens=1, hyperparameters={})


def learning(desk: Desk, queue: RunQueue) -> Run:
    desk.add()
    run = queue.claim()
    assert run is not None
    queue.begin(run, "begins")
    return run


def states(desk: Desk) -> list[str]:
    found = desk.models.look(TENANT, MODEL, after=0).events
    return [event.body["state"] for event in found if event.kind == "entered"]


def test_a_queued_model_is_paused_at_once_and_resumed(desk: Desk) -> None:
    desk.add()

    paused = desk.control.pause(TENANT, MODEL, "bert")
    taken = desk.trainer().claim()
    resumed = desk.control.resume(TENANT, MODEL, "cleo")

    assert (paused.phase, resumed.phase) == (State.PAUSED, State.QUEUED)
    assert taken is None
    events = desk.models.look(TENANT, MODEL, after=0).events
    assert [event.actor for event in events] == ["anna", "bert", "cleo"]
    assert desk.trainer().claim() is not None


def test_a_run_is_asked_to_pause_and_gives_its_place_up(desk: Desk) -> None:
    queue = desk.trainer()
    run = learning(desk, queue)

    asked = desk.control.pause(TENANT, MODEL, "bert")
    seen = queue.look(run)
    queue.record(run, [PROGRESSED])
    queue.pause(run)

    row = desk.models.get(TENANT, MODEL)
    assert (asked.phase, asked.pause_requested) == (State.TRAINING, True)
    assert seen.pause_requested
    assert (row.phase, row.pause_requested, row.attempt) == (State.PAUSED, False, 0)
    assert row.progress == {**asdict(PROGRESSED), "eta_seconds": None}
    assert row.lease_until is None
    assert queue.claim() is None


def test_a_run_that_is_lost_before_it_could_pause_is_paused_too(desk: Desk) -> None:
    queue = desk.trainer()
    run = learning(desk, queue)
    desk.control.pause(TENANT, MODEL, "bert")

    queue.give_back(run, "Attempt 1 was lost: killed")

    row = desk.models.get(TENANT, MODEL)
    assert (row.phase, row.attempt, row.pause_requested) == (State.PAUSED, 1, False)
    told = desk.models.look(TENANT, MODEL, after=0).events[-2]
    assert told.body["message"] == "Attempt 1 was lost: killed"
    resumed = desk.control.resume(TENANT, MODEL, "bert")
    assert (resumed.phase, resumed.not_before) == (State.QUEUED, None)


def test_pausing_twice_asks_once(desk: Desk) -> None:
    learning(desk, desk.trainer())
    first = desk.control.pause(TENANT, MODEL, "bert")
    second = desk.control.pause(TENANT, MODEL, "bert")

    assert second.last_sequence == first.last_sequence


def test_a_pause_that_is_under_way_can_be_taken_back(desk: Desk) -> None:
    queue = desk.trainer()
    run = learning(desk, queue)
    desk.control.pause(TENANT, MODEL, "bert")

    row = desk.control.resume(TENANT, MODEL, "bert")

    assert (row.phase, row.pause_requested) == (State.TRAINING, False)
    assert not queue.look(run).pause_requested


def test_a_pause_that_is_taken_back_as_the_run_stops_is_none(desk: Desk) -> None:
    queue = desk.trainer()
    run = learning(desk, queue)
    desk.control.pause(TENANT, MODEL, "bert")
    desk.control.resume(TENANT, MODEL, "bert")

    queue.pause(run)

    row = desk.models.get(TENANT, MODEL)
    assert (row.phase, row.attempt, row.lease_until) == (State.QUEUED, 0, None)
    assert queue.claim() is not None


def test_the_run_of_a_dead_trainer_is_paused_without_it(desk: Desk) -> None:
    dead = desk.trainer(lease_seconds=0.01)
    run = learning(desk, dead)
    time.sleep(0.03)

    row = desk.control.pause(TENANT, MODEL, "bert")

    assert row.phase is State.PAUSED
    with pytest.raises(LeaseLost):
        dead.record(run, [Entered(state=State.EXPORTING, reason="Learnt.")])


def test_a_run_that_was_taken_and_has_not_begun_loses_no_attempt(desk: Desk) -> None:
    desk.add()
    assert desk.trainer().claim() is not None

    row = desk.control.pause(TENANT, MODEL, "bert")

    assert (row.phase, row.attempt) == (State.PAUSED, 0)


def test_what_has_learnt_goes_on_to_its_end(desk: Desk) -> None:
    queue = desk.trainer()
    run = learning(desk, queue)
    desk.control.pause(TENANT, MODEL, "bert")

    queue.record(run, [Entered(state=State.EXPORTING, reason="Learnt.")])

    assert not queue.look(run).pause_requested
    with pytest.raises(FailedPrecondition, match="is EXPORTING: only a model that waits or learns"):
        desk.control.pause(TENANT, MODEL, "bert")
    queue.close_ready(run, PUBLISHED)
    assert states(desk) == ["QUEUED", "TRAINING", "EXPORTING", "READY"]


def test_what_has_ended_is_neither_paused_nor_resumed(desk: Desk) -> None:
    desk.add()
    desk.control.cancel(TENANT, MODEL, "anna")

    with pytest.raises(FailedPrecondition, match="is CANCELLED"):
        desk.control.pause(TENANT, MODEL, "anna")
    with pytest.raises(FailedPrecondition, match="is CANCELLED"):
        desk.control.resume(TENANT, MODEL, "anna")


def test_resuming_what_waits_changes_nothing(desk: Desk) -> None:
    before = desk.add()

    after = desk.control.resume(TENANT, MODEL, "anna")

    assert (after.last_sequence, after.queue_time) == (before.last_sequence, before.queue_time)


def test_a_paused_model_can_be_cancelled(desk: Desk) -> None:
    desk.add()
    desk.control.pause(TENANT, MODEL, "anna")

    assert desk.control.cancel(TENANT, MODEL, "anna").phase is State.CANCELLED


def test_a_model_that_is_not_started_waits_for_a_resume(desk: Desk) -> None:
    request = Request(actor="anna", request_id="", fingerprint=b"")
    row = desk.models.add(new_model(MODEL, auto_start=False), request)

    assert (row.phase, row.state_reason) == (State.PAUSED, "Waiting to be resumed.")
    assert desk.trainer().claim() is None
    desk.control.resume(TENANT, MODEL, "anna")
    assert desk.trainer().claim() is not None


def test_no_more_models_wait_than_may(desk: Desk) -> None:
    models = Models(desk.database, Bell(), quota=Quota(max_queued=2))
    request = Request(actor="anna", request_id="", fingerprint=b"")
    models.add(new_model("one"), request)
    models.add(new_model("two", auto_start=False), request)

    with pytest.raises(ResourceExhausted, match=r"2 may be \(max_queued_per_tenant\)") as refused:
        models.add(new_model("three"), request)
    assert refused.value.metadata["limit"] == "2"
    models.add(new_model("other", tenant="blue"), request)

    desk.control.cancel(TENANT, "one", "anna")
    models.add(new_model("three"), request)


def test_a_model_is_renamed_and_its_etag_changes(desk: Desk) -> None:
    before = desk.add().etag

    row = desk.control.update(TENANT, MODEL, Change(display_name="Töne", etag=before))

    assert (row.display_name, row.search_name) == ("Töne", "töne")
    assert row.etag != before
    with pytest.raises(Aborted, match="has changed since its etag was"):
        desk.control.update(TENANT, MODEL, Change(display_name="Other", etag=before))


def test_progress_does_not_change_the_etag(desk: Desk) -> None:
    queue = desk.trainer()
    run = learning(desk, queue)
    before = desk.models.get(TENANT, MODEL).etag

    queue.renew(run)

    assert desk.models.get(TENANT, MODEL).etag == before


def test_a_wrong_change_names_every_field(desk: Desk) -> None:
    desk.add()
    with pytest.raises(InvalidArgument) as refused:
        desk.control.update(
            TENANT, MODEL, Change(display_name=" ", webhook_uri="https://elsewhere.example/x")
        )

    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["model.display_name", "model.webhook_uri"]


def test_nobody_changes_what_another_tenant_has(desk: Desk) -> None:
    desk.add(tenant="blue")
    for change in (desk.control.pause, desk.control.resume, desk.control.cancel):
        with pytest.raises(NotFound):
            change("red", MODEL, "mallory")
    with pytest.raises(NotFound):
        desk.control.update("red", MODEL, Change(display_name="Mine"))
