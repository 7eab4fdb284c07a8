"""The order of the queue, as callers are told it and as trainers take it, on both databases."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.common.database import Database
from services.common.leases import LeaseQueue
from services.trainer.bell import Bell
from services.trainer.control import Control
from services.trainer.evaluating.queue import claim
from services.trainer.evaluating.rows import Evaluations, NewEvaluation
from services.trainer.evaluating.state import State
from services.trainer.models import Models, Request
from services.trainer.queue import RunQueue
from services.trainer.tables import MIGRATIONS, EvaluationRow
from services.trainer.turns import in_turn
from services.trainer.webhooks.addresses import Addresses
from services.trainer.webhooks.outbox import Outbox
from tests.engines import PostgresServer
from tests.unit.trainer_service.desk import new_model

START = datetime(2026, 1, 1, tzinfo=UTC)


def waiting(*models: str) -> list[tuple[str, str, datetime]]:
    """Return models that were queued a second after each other: the first letter is a tenant."""
    return [
        (model[0], model, START + timedelta(seconds=second)) for second, model in enumerate(models)
    ]


def names(order: object) -> list[str]:
    return [key[1] for key in order]  # type: ignore[attr-defined]  # pairs


def test_one_tenant_goes_by_time() -> None:
    assert names(in_turn(waiting("a1", "a2", "a3"), Counter())) == ["a1", "a2", "a3"]


def test_tenants_take_turns_however_much_one_has_queued() -> None:
    order = in_turn(waiting("a1", "a2", "a3", "b1", "b2", "c1"), Counter())

    assert names(order) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_of_those_without_runs_who_had_a_turn_longest_ago_is_first() -> None:
    last = {"a": START + timedelta(hours=2), "b": START + timedelta(hours=1)}

    order = in_turn(waiting("a1", "a2", "b1", "b2", "c1"), Counter(), last)

    assert names(order) == ["c1", "b1", "a1", "b2", "a2"]


def test_who_has_runs_under_way_waits_for_those_who_have_none() -> None:
    order = in_turn(waiting("a1", "b1", "b2"), Counter({"a": 2, "b": 1}))

    assert names(order) == ["b1", "a1", "b2"]


def test_what_a_limit_keeps_waiting_comes_last() -> None:
    order = in_turn(waiting("a1", "a2", "b1"), Counter({"a": 1}), limit=2)

    assert names(order) == ["b1", "a1", "a2"]
    assert names(in_turn(waiting("a1", "b1", "b2"), Counter({"a": 1}), limit=1)) == [
        "b1",
        "a1",
        "b2",
    ]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/trainer.sqlite"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
    database = Database(url)
    database.upgrade(MIGRATIONS)
    yield database
    database.close()


def add(models: Models, *ids: str) -> None:
    for model in ids:
        request = Request(actor="anna", request_id="", fingerprint=b"")
        models.add(new_model(model, tenant=model[0]), request)


def queue(database: Database, *, limit: int = 0, owner: str = "t") -> RunQueue:
    return RunQueue(
        database,
        Bell(),
        owner=owner,
        lease_seconds=60.0,
        outbox=Outbox(),
        max_runs_per_tenant=limit,
    )


def claimed(trainer: RunQueue) -> str | None:
    run = trainer.claim()
    return None if run is None else run.row.id


def test_trainers_take_runs_in_the_order_that_callers_are_told(database: Database) -> None:
    models = Models(database, Bell())
    add(models, "a1", "a2", "a3", "b1", "b2", "c1")
    told: dict[str, int] = {}
    for model in ("a1", "a2", "a3", "b1", "b2", "c1"):
        told |= models.positions([models.get(model[0], model)])
    trainer = queue(database)

    taken = [claimed(trainer) for _ in range(7)]

    assert taken == [*sorted(told, key=told.__getitem__), None]
    assert sorted(told.values()) == [1, 2, 3, 4, 5, 6]
    assert models.positions([models.get("a", "a1")]) == {}


def test_with_one_place_tenants_take_turns_too(database: Database) -> None:
    # Nobody has a run under way where the only place becomes free.
    models = Models(database, Bell())
    add(models, "a1", "a2", "a3", "b1", "b2", "c1")
    told: dict[str, int] = {}
    for model in ("a1", "a2", "a3", "b1", "b2", "c1"):
        told |= models.positions([models.get(model[0], model)])
    trainer, taken = queue(database), []
    while (run := trainer.claim()) is not None:
        trainer.begin(run, "begins")
        trainer.close_failed(run, "ends")
        taken.append(run.row.id)

    assert taken == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert sorted(told, key=told.__getitem__) == taken


def test_evaluations_of_tenants_take_turns(database: Database) -> None:
    models, evaluations = Models(database, Bell()), Evaluations(database, Bell())
    for tenant, wanted in (("a", 3), ("b", 2), ("c", 1)):
        add(models, f"{tenant}0")
        for _ in range(wanted):
            new = NewEvaluation(
                tenant=tenant,
                model=f"{tenant}0",
                dataset="d",
                dataset_content_hash="0" * 64,
                split="test",
            )
            evaluations.add(new, Request(actor="anna", request_id="", fingerprint=b""))
    leases = LeaseQueue(database, EvaluationRow, owner="t")
    taken = []
    while (work := claim(database, leases)) is not None:
        values = {"state": State.FAILED, "end_time": datetime.now(UTC)}
        leases.update(work.lease, values, release=True)
        taken.append(work.row.tenant)

    assert taken == ["a", "b", "c", "a", "b", "a"]


def test_a_resumed_model_queues_at_the_end_of_its_tenants_models(database: Database) -> None:
    models = Models(database, Bell())
    control = Control(database, Bell(), addresses=Addresses(), outbox=Outbox())
    add(models, "a1", "a2")
    control.pause("a", "a1", "anna")
    control.resume("a", "a1", "anna")
    trainer = queue(database)

    assert [claimed(trainer), claimed(trainer)] == ["a2", "a1"]


def test_a_tenant_never_has_more_runs_than_it_may(database: Database) -> None:
    # Several trainers at once: each counts what the one before it took.
    models = Models(database, Bell())
    add(models, *(f"a{number}" for number in range(8)), "b1")
    taken: list[str | None] = []

    def take(number: int) -> None:
        trainer = queue(database, limit=2, owner=str(number))
        taken.extend(claimed(trainer) for _ in range(3))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(model[0] for model in taken if model) == {"a": 2, "b": 1}
