"""Who publishes, who finds it published, and who has to take it back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest, TextInput
from services.common import layout, manifests
from services.common.storage import ObjectStore, open_store
from services.trainer import publishing
from services.trainer.attempt import Attempt
from services.trainer.queue import Run, RunQueue
from services.trainer.settings import TrainerSettings
from services.trainer.state import State
from tests.unit.trainer_service.desk import Desk

TENANT, MODEL = "default", "tone-abcdef"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


def claimed(queue: RunQueue) -> Run:
    run = queue.claim()
    assert run is not None
    return run


def manifest_of(run: Run) -> ModelManifest:
    return ModelManifest(
        format_version=manifests.FORMAT_VERSION,
        name=run.row.name,
        attempt=run.lease.attempt,
        token=run.lease.token,
        dimension=32,
        input=TextInput(max_tokens=64),
    )


def leave_files(store: ObjectStore, run: Run) -> str:
    prefix = layout.attempt_prefix(TENANT, MODEL, run.lease.attempt, run.lease.token)
    store.put(f"{prefix}model.onnx", b"graph")
    return prefix


def attempt(run: Run, queue: RunQueue, store: ObjectStore, tmp_path: Path) -> Attempt:
    return Attempt(
        run,
        queue=queue,
        store=store,
        settings=TrainerSettings(data_directory=tmp_path),
        sources={},
        is_coming=lambda _: False,
        stop=threading.Event(),
    )


def keys(store: ObjectStore) -> list[str]:
    return [item.key.removeprefix(f"{TENANT}/models/{MODEL}/") for item in store.list(TENANT)]


def test_of_two_attempts_the_first_is_published(desk: Desk, store: ObjectStore) -> None:
    row = desk.add()
    first = claimed(desk.trainer(lease_seconds=0.01))
    time.sleep(0.03)
    second = claimed(desk.trainer())

    publishing.publish(store, row, manifest_of(second))
    held = publishing.publish(store, row, manifest_of(first))

    assert held.token == second.lease.token


def test_a_run_that_was_published_but_not_closed_is_closed(
    desk: Desk, store: ObjectStore, tmp_path: Path
) -> None:
    row = desk.add()
    lost = claimed(desk.trainer(lease_seconds=0.01))
    prefix = leave_files(store, lost)
    publishing.publish(store, row, manifest_of(lost))
    time.sleep(0.03)
    queue = desk.trainer()

    attempt(claimed(queue), queue, store, tmp_path).carry_out()

    ready = desk.models.get(TENANT, MODEL)
    assert (ready.phase, ready.dimension, ready.max_tokens) == (State.READY, 32, 64)
    assert store.stat(f"{prefix}model.onnx") is not None


def test_a_run_that_was_lost_too_often_fails(
    desk: Desk, store: ObjectStore, tmp_path: Path
) -> None:
    desk.add()
    for _ in range(3):
        claimed(desk.trainer(lease_seconds=0.01))
        time.sleep(0.03)
    queue = desk.trainer()

    attempt(claimed(queue), queue, store, tmp_path).carry_out()

    failed = desk.models.get(TENANT, MODEL)
    assert failed.phase is State.FAILED
    assert failed.error is not None
    assert "lost 3 times" in failed.error


@pytest.mark.parametrize("deleted", [False, True])
def test_a_frozen_publisher_takes_back_what_was_cancelled_meanwhile(
    desk: Desk, store: ObjectStore, tmp_path: Path, *, deleted: bool
) -> None:
    # Frozen between its last look at the lease and the creation of the manifest.
    row = desk.add()
    queue = desk.trainer()
    run = claimed(queue)
    leave_files(store, run)
    desk.models.cancel(TENANT, MODEL, "anna")
    if deleted:
        desk.models.forget(TENANT, MODEL)
    publishing.publish(store, row, manifest_of(run))

    attempt(run, queue, store, tmp_path).carry_out()

    assert keys(store) == []


def test_an_overtaken_publisher_leaves_the_winner_alone(
    desk: Desk, store: ObjectStore, tmp_path: Path
) -> None:
    row = desk.add()
    slow = desk.trainer(lease_seconds=0.01)
    zombie = claimed(slow)
    leave_files(store, zombie)
    time.sleep(0.03)
    quick = desk.trainer()
    heir = claimed(quick)
    leave_files(store, heir)
    quick.close_ready(heir, publishing.facts(publishing.publish(store, row, manifest_of(heir))))

    attempt(zombie, slow, store, tmp_path).carry_out()

    assert keys(store) == ["model.json", "runs/0002-2/model.onnx"]
    assert desk.models.get(TENANT, MODEL).phase is State.READY


def test_a_zombie_that_published_first_keeps_its_files(
    desk: Desk, store: ObjectStore, tmp_path: Path
) -> None:
    row = desk.add()
    slow = desk.trainer(lease_seconds=0.01)
    zombie = claimed(slow)
    prefix = leave_files(store, zombie)
    time.sleep(0.03)
    quick = desk.trainer()
    heir = claimed(quick)
    publishing.publish(store, row, manifest_of(zombie))

    attempt(zombie, slow, store, tmp_path).carry_out()
    attempt(heir, quick, store, tmp_path).carry_out()

    assert store.stat(f"{prefix}model.onnx") is not None
    assert desk.models.get(TENANT, MODEL).phase is State.READY


def test_a_manifest_of_another_attempt_is_refused(desk: Desk) -> None:
    row = desk.add()

    with pytest.raises(ValueError, match="manifest"):
        publishing.parse(
            '{"name": "models/tone-abcdef", "attempt": 1, "token": "1"}',
            row=row,
            attempt=2,
            token=2,
        )
