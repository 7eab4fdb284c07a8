from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from services.common import layout, manifests
from services.common.storage import ObjectStore, open_store
from services.trainer import publishing
from services.trainer.messages import Logged, Measured
from services.trainer.queue import Published, Run
from services.trainer.sweep import Sweep
from tests.unit.trainer_service.desk import Desk

TENANT = "default"
PUBLISHED = Published(variants=[], dimension=1, max_tokens=1, hyperparameters={})


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


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


def sweep(desk: Desk, store: ObjectStore, *, days: float | None, in_days: float) -> None:
    kept = None if days is None else timedelta(days=days)
    later = datetime.now(UTC) + timedelta(days=in_days)
    Sweep(desk.database, store, lines_kept=kept, clock=lambda: later).forget()


def test_of_old_runs_the_states_and_the_last_measurement_stay(
    desk: Desk, store: ObjectStore
) -> None:
    learnt(desk, "tone-old", ended=True)
    learnt(desk, "tone-busy", ended=False)
    before = kinds(desk, "tone-busy")

    sweep(desk, store, days=30, in_days=29)
    assert len(kinds(desk, "tone-old")) == 8

    sweep(desk, store, days=30, in_days=31)
    assert kinds(desk, "tone-old") == ["entered", "entered", "measured", "entered"]
    last = desk.models.look(TENANT, "tone-old", after=0).events[2]
    assert last.body["step"] == 2
    assert kinds(desk, "tone-busy") == before


def test_without_an_age_everything_stays(desk: Desk, store: ObjectStore) -> None:
    learnt(desk, "tone-old", ended=True)

    sweep(desk, store, days=None, in_days=9999)

    assert len(kinds(desk, "tone-old")) == 8


def test_ids_of_old_requests_count_as_new(desk: Desk, store: ObjectStore) -> None:
    desk.add("one", request_id="r1")

    sweep(desk, store, days=None, in_days=6)
    assert desk.add("two", request_id="r1").id == "one"

    sweep(desk, store, days=None, in_days=8)
    assert desk.add("two", request_id="r1").id == "two"


def begun(desk: Desk, store: ObjectStore, model: str) -> tuple[Run, str]:
    """Let a run leave its marks, a file and a checkpoint; return it and the file's key."""
    desk.add(model)
    run = desk.trainer().claim()
    assert run is not None
    publishing.announce(store, run.row)
    key = layout.attempt_prefix(TENANT, model, run.lease.attempt, run.lease.token) + "model.onnx"
    store.put(key, b"graph")
    store.put(layout.checkpoints_prefix(TENANT, model) + "1-1/file", b"weights")
    return run, key


def test_marks_of_who_died_before_tidying_up_go(desk: Desk, store: ObjectStore) -> None:
    failed, _ = begun(desk, store, "tone-failed")
    desk.trainer().close_failed(failed, "The base is gone.")
    ready, graph = begun(desk, store, "tone-ready")
    manifest = ModelManifest(format_version=1, name=ready.row.name, attempt=1, token=1)
    manifests.create_manifest(store, layout.model_manifest(TENANT, "tone-ready"), manifest)
    desk.trainer().close_ready(ready, PUBLISHED)
    busy, _ = begun(desk, store, "tone-busy")
    before = {item.key for item in store.list(layout.model_prefix(TENANT, busy.row.id))}

    sweep(desk, store, days=None, in_days=8)
    assert store.stat(layout.dataset_use(TENANT, failed.row.dataset, "tone-failed")) is not None
    sweep(desk, store, days=None, in_days=6)

    assert store.stat(layout.dataset_use(TENANT, failed.row.dataset, "tone-failed")) is None
    assert list(store.list(layout.runs_prefix(TENANT, "tone-failed"))) == []
    assert {item.key for item in store.list(layout.model_prefix(TENANT, "tone-ready"))} == {
        layout.model_manifest(TENANT, "tone-ready"),
        graph,
    }
    assert store.stat(layout.dataset_use(TENANT, ready.row.dataset, "tone-ready")) is not None
    assert {item.key for item in store.list(layout.model_prefix(TENANT, "tone-busy"))} == before
