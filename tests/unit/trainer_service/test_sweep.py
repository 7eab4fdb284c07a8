from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.trainer.messages import Logged, Measured
from services.trainer.queue import Published
from services.trainer.sweep import Sweep
from tests.unit.trainer_service.desk import Desk

TENANT = "default"
PUBLISHED = Published(variants=[], dimension=1, max_tokens=1, hyperparameters={})


def measured(step: int) -> Measured:
    return Measured(step=step, epoch=0, loss=1, accuracy=0, precision=0, recall=0, f1=0)


def learnt(desk: Desk, model: str, *, ended: bool) -> None:
    desk.add(model)
    queue = desk.trainer()
    run = queue.claim()
    assert run is not None
    queue.begin(run, "begins")
    line = Logged(level="info", message="hello")
    queue.record(run, [line, measured(0), measured(1), measured(2), line])
    if ended:
        queue.close_ready(run, PUBLISHED)


def kinds(desk: Desk, model: str) -> list[str]:
    return [event.kind for event in desk.models.look(TENANT, model, after=0).events]


def sweep(desk: Desk, *, days: float | None, in_days: float) -> None:
    kept = None if days is None else timedelta(days=days)
    later = datetime.now(UTC) + timedelta(days=in_days)
    Sweep(desk.database, lines_kept=kept, clock=lambda: later).forget()


def test_of_old_runs_the_states_and_the_last_measurement_stay(desk: Desk) -> None:
    learnt(desk, "tone-old", ended=True)
    learnt(desk, "tone-busy", ended=False)
    before = kinds(desk, "tone-busy")

    sweep(desk, days=30, in_days=29)
    assert len(kinds(desk, "tone-old")) == 8

    sweep(desk, days=30, in_days=31)
    assert kinds(desk, "tone-old") == ["entered", "entered", "measured", "entered"]
    last = desk.models.look(TENANT, "tone-old", after=0).events[2]
    assert last.body["step"] == 2
    assert kinds(desk, "tone-busy") == before


def test_without_an_age_everything_stays(desk: Desk) -> None:
    learnt(desk, "tone-old", ended=True)

    sweep(desk, days=None, in_days=9999)

    assert len(kinds(desk, "tone-old")) == 8


def test_ids_of_old_requests_count_as_new(desk: Desk) -> None:
    desk.add("one", request_id="r1")

    sweep(desk, days=None, in_days=6)
    assert desk.add("two", request_id="r1").id == "one"

    sweep(desk, days=None, in_days=8)
    assert desk.add("two", request_id="r1").id == "two"
