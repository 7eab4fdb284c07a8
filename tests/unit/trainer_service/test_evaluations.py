"""Evaluations on further datasets: their names, their rows, and those that are given up."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from isogloss.v1.evaluation_pb2 import Evaluation
from services.common import layout, pagination
from services.common.database import Database
from services.common.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.common.storage import open_store
from services.trainer.bell import Bell
from services.trainer.evaluating.naming import (
    EvaluationName,
    parse_card,
    parse_evaluation,
    parse_projection,
)
from services.trainer.evaluating.requests import summary
from services.trainer.evaluating.rows import MAX_WAITING, Evaluations, NewEvaluation
from services.trainer.evaluating.state import State
from services.trainer.evaluating.worker import Evaluator
from services.trainer.models import Models, Request
from services.trainer.settings import TrainerSettings
from services.trainer.tables import MIGRATIONS, EvaluationRow
from tests.unit.trainer_service.desk import new_model


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'trainer.sqlite'}")
    database.upgrade(MIGRATIONS)
    yield database
    database.close()


@pytest.fixture
def evaluations(database: Database) -> Evaluations:
    models = Models(database, Bell())
    for tenant in ("default", "rival"):
        models.add(new_model("tone-abcdef", tenant=tenant), asked())
    return Evaluations(database, Bell())


def new(
    *,
    tenant: str = "default",
    model: str = "tone-abcdef",
    dataset: str = "d-abcdef",
    split: str = "test",
) -> NewEvaluation:
    return NewEvaluation(
        tenant=tenant, model=model, dataset=dataset, dataset_content_hash="0" * 64, split=split
    )


def asked(request_id: str = "", fingerprint: bytes = b"") -> Request:
    return Request(actor="anna", request_id=request_id, fingerprint=fingerprint)


def test_names_come_apart_and_together() -> None:
    own = parse_evaluation("models/tone-abcdef/evaluation")
    further = parse_evaluation("models/tone-abcdef/evaluations/abcdefghij27")

    assert own == EvaluationName(model="tone-abcdef", evaluation="")
    assert further == EvaluationName(model="tone-abcdef", evaluation="abcdefghij27")
    assert str(own) == "models/tone-abcdef/evaluation"
    assert str(further) == "models/tone-abcdef/evaluations/abcdefghij27"
    assert parse_projection("models/tone-abcdef/projection") == "tone-abcdef"
    assert parse_card("models/tone-abcdef/card") == "tone-abcdef"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "models/a",
        "models//evaluation",
        "models/A_/evaluation",
        "models/a/evaluations/",
        "models/a/evaluations/../../x",
        "models/a/evaluations/abcdefghij27/x",
        "models/a/projection",
        "models/a/card/x",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="models/ID/evaluation or models/ID/evaluations/ID"):
        parse_evaluation(name)
    with pytest.raises(InvalidArgument, match="models/ID/projection"):
        parse_projection(name.replace("/projection", "/map"))
    with pytest.raises(InvalidArgument, match="models/ID/card"):
        parse_card(name)


def test_the_same_request_makes_one_evaluation(evaluations: Evaluations) -> None:
    request_id = str(uuid.uuid4())

    first = evaluations.add(new(), asked(request_id, b"a"))
    again = evaluations.add(new(), asked(request_id, b"a"))
    with pytest.raises(AlreadyExists):
        evaluations.add(new(split="train"), asked(request_id, b"b"))

    assert again.name == first.name
    assert summary(first).state == Evaluation.STATE_QUEUED
    assert summary(first).dataset == "datasets/d-abcdef"


def test_a_model_that_was_deleted_meanwhile_leaves_no_evaluation(
    evaluations: Evaluations,
) -> None:
    with pytest.raises(NotFound):
        evaluations.add(new(model="gone-abcdef"), asked())

    assert evaluations.datasets("default", "gone-abcdef") == set()


def test_no_tenant_fills_the_queue(evaluations: Evaluations) -> None:
    for _ in range(MAX_WAITING):
        evaluations.add(new(), asked())

    with pytest.raises(ResourceExhausted, match=f"{MAX_WAITING} may"):
        evaluations.add(new(), asked())

    assert evaluations.add(new(tenant="rival"), asked()).state == State.QUEUED


def test_nobody_sees_another_tenants(evaluations: Evaluations) -> None:
    row = evaluations.add(new(tenant="rival"), asked())

    page = pagination.page_request(page_size=10, page_token="", scope=())
    with pytest.raises(NotFound):
        evaluations.get("default", row.model, row.id)
    assert evaluations.list("default", row.model, page).items == []
    assert evaluations.datasets("default", row.model) == set()
    evaluations.forget("default", row.model)
    assert evaluations.get("rival", row.model, row.id).id == row.id


def test_the_latest_that_is_ready_counts(database: Database, evaluations: Evaluations) -> None:
    rows = [evaluations.add(new(split=split), asked()) for split in ("test", "train", "test")]
    for row, state in zip(rows, (State.READY, State.READY, State.FAILED), strict=True):
        with database.write() as session:
            stored = session.get(EvaluationRow, (row.tenant, row.model, row.id))
            assert stored is not None
            stored.state = state

    def latest(split: str | None) -> str | None:
        found = evaluations.latest("default", "tone-abcdef", dataset="d-abcdef", split=split)
        return None if found is None else found.id

    assert latest("test") == rows[0].id
    assert latest(None) == rows[1].id
    assert latest("validation") is None


async def test_what_killed_its_trainers_is_given_up(
    database: Database, evaluations: Evaluations, tmp_path: Path
) -> None:
    row = evaluations.add(new(), asked())
    with database.write() as session:
        stored = session.get(EvaluationRow, (row.tenant, row.model, row.id))
        assert stored is not None
        stored.state, stored.attempt, stored.token = State.RUNNING, 3, 3
        stored.lease_until = datetime.now(UTC) - timedelta(seconds=1)
    settings = TrainerSettings.model_validate(
        {"data_directory": tmp_path, "queue_poll_seconds": 0.05, "max_attempts": 3}
    )
    bell = Bell()
    evaluator = Evaluator(
        settings,
        database=database,
        store=open_store(str(tmp_path / "store")),
        bell=bell,
        owner="me",
    )

    serving = asyncio.create_task(evaluator.serve())
    while (found := evaluations.get(row.tenant, row.model, row.id)).state != State.FAILED:
        await bell.wait(0.02)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving

    assert found.lease_until is None
    assert "lost several times" in summary(found).error.message


async def test_a_database_that_is_away_for_a_moment_costs_no_attempt(
    evaluations: Evaluations, tmp_path: Path
) -> None:
    class Away(Database):
        """Does not answer the third write: the claim and the start come before."""

        writes = 0

        @contextlib.contextmanager
        def write(self) -> Iterator[Session]:
            self.writes += 1
            if self.writes == 3:
                raise Unavailable("The database is away.")
            with super().write() as session:
                yield session

    away = Away(f"sqlite:///{tmp_path / 'trainer.sqlite'}")
    row = evaluations.add(new(), asked())
    settings = TrainerSettings.model_validate(
        {"data_directory": tmp_path, "lease_seconds": 3.0, "heartbeat_seconds": 0.01}
    )
    bell = Bell()
    store = open_store(str(tmp_path / "store"))
    evaluator = Evaluator(settings, database=away, store=store, bell=bell, owner="me")

    serving = asyncio.create_task(evaluator.serve())
    while (found := evaluations.get(row.tenant, row.model, row.id)).state != State.FAILED:
        await bell.wait(0.02)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    away.close()

    assert away.writes > 3
    assert found.attempt == 1
    assert "is gone" in summary(found).error.message
    # What a purge finds texts by, though whoever queued it has left no mark.
    assert store.stat(layout.dataset_use(row.tenant, row.dataset, row.model)) is not None
