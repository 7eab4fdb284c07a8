from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from services.common.database import schema_differences
from services.common.leases import LeaseLost
from services.trainer.messages import Entered, Logged, Measured, Planned, Progressed, Report
from services.trainer.queue import Published, Run, RunQueue
from services.trainer.state import State
from services.trainer.tables import Base, ModelRow
from tests.unit.trainer_service.desk import Desk

MEASURED = Measured(step=0, epoch=0, loss=1.1, accuracy=0.3, precision=0.3, recall=0.3, f1=0.3)
PROGRESSED = Progressed(
    step=1, total_steps=2, epoch=0.5, total_epochs=1, fraction=0.4, eta_seconds=3.0
)
PUBLISHED = Published(variants=[], dimension=384, max_tokens=256, hyperparameters={"epochs": 3})
TENANT, MODEL = "default", "tone-abcdef"


def claimed(queue: RunQueue) -> Run:
    run = queue.claim()
    assert run is not None
    return run


def holds(queue: RunQueue, run: Run) -> bool:
    try:
        queue.look(run)
    except LeaseLost:
        return False
    return True


def states(desk: Desk) -> list[str]:
    found = desk.models.look(TENANT, MODEL, after=0).events
    return [event.body["state"] for event in found if event.kind == "entered"]


def test_the_migrations_make_the_tables_that_are_declared(desk: Desk) -> None:
    assert schema_differences(desk.database, Base.metadata) == []


def test_a_run_goes_from_queue_to_ready(desk: Desk) -> None:
    desk.add()
    queue = desk.trainer()

    run = claimed(queue)
    queue.begin(run, "Attempt 1 of 3 begins.")
    queue.record(
        run,
        [
            Planned(
                hyperparameters={"epochs": 3, "learning_rate": 1e-4, "batch_size": 32, "seed": 7}
            )
        ],
    )
    queue.record(run, [MEASURED, PROGRESSED, Logged(level="info", message="hello")])
    queue.record(run, [Entered(state=State.EXPORTING, reason="Learnt.")])
    queue.renew(run)
    queue.close_ready(run, PUBLISHED)

    row = desk.models.get(TENANT, MODEL)
    assert states(desk) == ["QUEUED", "TRAINING", "EXPORTING", "READY"]
    assert row.phase is State.READY
    assert row.attempt == 1
    assert row.dimension == 384
    assert row.hyperparameters == {"epochs": 3}
    assert row.progress is not None
    assert row.progress["fraction"] == 1.0
    assert row.metrics is not None
    assert row.metrics["accuracy"] == 0.3
    assert row.start_time is not None
    assert row.end_time is not None
    assert row.end_time >= row.start_time >= row.create_time
    assert queue.claim() is None


def test_events_are_numbered_without_a_gap(desk: Desk) -> None:
    desk.add()
    queue = desk.trainer()
    run = claimed(queue)
    queue.begin(run, "begins")
    reports: list[Report] = [Logged(level="info", message=str(number)) for number in range(5)]
    queue.record(run, reports)

    events = desk.models.look(TENANT, MODEL, after=0).events

    assert [event.sequence for event in events] == list(range(1, 8))
    assert [event.sequence for event in desk.models.look(TENANT, MODEL, after=5).events] == [6, 7]
    assert [event.actor for event in events[:2]] == ["anna", "system"]


def test_the_oldest_run_is_taken_first_and_only_once(desk: Desk) -> None:
    desk.add("first")
    desk.add("second")
    queue = desk.trainer()

    assert [claimed(queue).row.id, claimed(queue).row.id] == ["first", "second"]
    assert queue.claim() is None


def test_an_overtaken_trainer_changes_nothing(desk: Desk) -> None:
    desk.add()
    slow = desk.trainer("slow", lease_seconds=0.05)
    old = claimed(slow)
    slow.begin(old, "begins")
    time.sleep(0.1)
    quick = desk.trainer("quick")
    new = claimed(quick)
    quick.begin(new, "begins again")
    before = desk.models.look(TENANT, MODEL, after=0)

    writes: list[Callable[[], None]] = [
        lambda: slow.renew(old),
        lambda: slow.record(old, [MEASURED]),
        lambda: slow.close_ready(old, PUBLISHED),
        lambda: slow.close_failed(old, "no"),
        lambda: slow.give_back(old, "no"),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()

    after = desk.models.look(TENANT, MODEL, after=0)
    assert not holds(slow, old)
    assert holds(quick, new)
    assert (new.lease.attempt, new.lease.token) == (2, 2)
    assert after.row.revision == before.row.revision
    assert len(after.events) == len(before.events)


def test_a_lost_run_waits_before_it_is_tried_again(desk: Desk) -> None:
    desk.add()
    queue = desk.trainer()
    run = claimed(queue)
    queue.begin(run, "begins")

    queue.give_back(run, "killed")

    row = desk.models.get(TENANT, MODEL)
    assert row.phase is State.QUEUED
    assert row.not_before is not None
    assert row.not_before > row.update_time
    assert queue.claim() is None


def test_a_refunded_attempt_does_not_count(desk: Desk) -> None:
    desk.add()
    queue = desk.trainer()
    first = claimed(queue)
    queue.begin(first, "begins")

    queue.give_back(first, "shutting down", refund=True)

    again = claimed(desk.trainer("other"))
    assert (again.lease.attempt, again.lease.token) == (1, 2)


def test_a_failed_run_says_why(desk: Desk) -> None:
    desk.add()
    queue = desk.trainer()
    run = claimed(queue)
    queue.begin(run, "begins")

    queue.close_failed(run, "The loss is no longer a number.")

    row = desk.models.get(TENANT, MODEL)
    assert row.phase is State.FAILED
    assert row.error == row.state_reason == "The loss is no longer a number."
    assert row.end_time is not None
    assert queue.claim() is None


def test_a_cancel_takes_the_run_away(desk: Desk) -> None:
    desk.add()
    queue = desk.trainer()
    run = claimed(queue)
    queue.begin(run, "begins")

    row = desk.control.cancel(TENANT, MODEL, "anna")

    assert row.phase is State.CANCELLED
    assert row.state_reason == "Cancelled by a caller."
    assert not holds(queue, run)
    with pytest.raises(LeaseLost):
        queue.record(run, [MEASURED])
    assert queue.claim() is None


def test_a_deleted_run_is_lost(desk: Desk) -> None:
    desk.add()
    queue = desk.trainer()
    run = claimed(queue)

    desk.control.forget(TENANT, MODEL)

    assert not holds(queue, run)
    assert queue.row(run) is None
    with pytest.raises(LeaseLost):
        queue.renew(run)


def test_tokens_only_grow(desk: Desk) -> None:
    desk.add()
    tokens = []
    for _ in range(3):
        queue = desk.trainer(lease_seconds=0.01)
        tokens.append(claimed(queue).lease.token)
        time.sleep(0.03)
    row: ModelRow = desk.control.cancel(TENANT, MODEL, "anna")

    assert [*tokens, row.token] == [1, 2, 3, 4]
