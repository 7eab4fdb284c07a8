"""Who publishes, who finds it published, and who has to take it back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest, TextInput
from services.common import layout, manifests
from services.common.storage import ObjectStore, open_store
from services.trainer import publishing
from services.trainer.attempt import Attempt
from services.trainer.bell import Bell
from services.trainer.control import Control
from services.trainer.creation import Creation
from services.trainer.queue import Run, RunQueue
from services.trainer.settings import TrainerSettings
from services.trainer.state import State
from services.trainer.tables import ModelRow
from services.trainer.webhooks.addresses import Addresses
from services.trainer.webhooks.outbox import Outbox
from tests.unit.trainer_service.desk import Desk

TENANT, MODEL = "default", "tone-abcdef"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


def claimed(queue: RunQueue) -> Run:
    run = queue.claim()
    assert run is not None
    return run


class MarkingControl(Control):
    """Rows beside which somebody leaves marks, just before they are removed."""

    mark: Callable[[], None]

    def forget(self, tenant: str, model: str) -> None:
        """Let the marks be left first."""
        self.mark()
        super().forget(tenant, model)


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
        device="cpu",
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


def test_a_run_whose_trainer_died_before_it_could_pause_it_is_paused(
    desk: Desk, store: ObjectStore, tmp_path: Path
) -> None:
    desk.add()
    died = desk.trainer()
    run = claimed(died)
    died.begin(run, "begins")
    asked = desk.control.pause(TENANT, MODEL, "anna")
    leave_files(store, run)
    with desk.database.write() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(ModelRow).values(lease_until=past))
    queue = desk.trainer()

    attempt(claimed(queue), queue, store, tmp_path).carry_out()

    paused = desk.models.get(TENANT, MODEL)
    assert asked.pause_requested
    assert (paused.phase, paused.attempt) == (State.PAUSED, 1)
    assert queue.claim() is None


def test_checkpoints_go_with_the_end_of_a_run_and_stay_where_it_pauses(
    desk: Desk, store: ObjectStore
) -> None:
    row = desk.add()
    kept = f"{layout.checkpoints_prefix(TENANT, MODEL)}0000000001-0000000001/manifest.json"
    store.put(kept, b"{}")

    desk.control.pause(TENANT, MODEL, "anna")
    assert store.stat(kept) is not None
    publishing.withdraw(store, row)
    assert store.stat(kept) is None


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
    desk.control.cancel(TENANT, MODEL, "anna")
    if deleted:
        desk.control.forget(TENANT, MODEL)
    publishing.publish(store, row, manifest_of(run))

    attempt(run, queue, store, tmp_path).carry_out()

    assert keys(store) == []


def creation(desk: Desk, store: ObjectStore) -> Creation:
    return desk.creation(store)


def use(store: ObjectStore) -> object:
    return store.stat(layout.dataset_use(TENANT, "tone-zzzzzz", MODEL))


def test_a_cancelled_model_is_not_served_whoever_published_it(
    desk: Desk, store: ObjectStore, tmp_path: Path
) -> None:
    # A trainer that was overtaken publishes after all while its heir learns.
    row = desk.add()
    zombie = claimed(desk.trainer(lease_seconds=0.01))
    leave_files(store, zombie)
    time.sleep(0.03)
    queue = desk.trainer()
    heir = claimed(queue)
    desk.control.cancel(TENANT, MODEL, "anna")
    publishing.publish(store, row, manifest_of(zombie))

    attempt(heir, queue, store, tmp_path).carry_out()

    assert keys(store) == []


def test_a_cancel_takes_back_what_a_dead_trainer_published(desk: Desk, store: ObjectStore) -> None:
    row = desk.add()
    run = claimed(desk.trainer())
    leave_files(store, run)
    publishing.publish(store, row, manifest_of(run))

    creation(desk, store).cancel(TENANT, MODEL, "anna")

    assert keys(store) == []


def test_a_model_that_was_cancelled_lets_its_dataset_go(desk: Desk, store: ObjectStore) -> None:
    row = desk.add()
    publishing.announce(store, row)
    store.put(f"{layout.model_examples_prefix(TENANT, MODEL)}worst.json", b"texts")

    creation(desk, store).cancel(TENANT, MODEL, "anna")

    assert use(store) is None
    # Inference still tells it from a model that never was.
    assert keys(store) == ["pending.json"]


def test_a_model_that_failed_lets_its_dataset_go(
    desk: Desk, store: ObjectStore, tmp_path: Path
) -> None:
    publishing.announce(store, desk.add())
    for _ in range(3):
        claimed(desk.trainer(lease_seconds=0.01))
        time.sleep(0.03)
    queue = desk.trainer()

    attempt(claimed(queue), queue, store, tmp_path).carry_out()

    assert desk.models.get(TENANT, MODEL).phase is State.FAILED
    assert use(store) is None


def test_who_lost_the_run_leaves_no_marks(desk: Desk, store: ObjectStore, tmp_path: Path) -> None:
    # Deleted between the claim and the first write: the row is still there, its marks are not.
    desk.add()
    queue = desk.trainer()
    run = claimed(queue)
    publishing.remove(store, desk.control.stop(TENANT, MODEL, "anna"))

    attempt(run, queue, store, tmp_path).carry_out()

    assert keys(store) == []
    assert use(store) is None


def test_a_deletion_takes_marks_that_were_left_while_it_went_on(
    desk: Desk, store: ObjectStore
) -> None:
    row = desk.add()
    control = MarkingControl(desk.database, Bell(), addresses=Addresses(), outbox=Outbox())
    control.mark = lambda: publishing.announce(store, row)

    desk.creation(store, control=control).delete(TENANT, MODEL, "anna")

    assert keys(store) == []
    assert use(store) is None


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
    # The zombie's run woke a moment before the zombie did.
    late = f"{layout.checkpoints_prefix(TENANT, MODEL)}0000000009-0000000001/manifest.json"
    store.put(late, b"{}")

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
