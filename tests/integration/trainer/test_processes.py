"""Whole trainer processes that are killed, frozen and woken."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from services.common import layout, manifests
from services.common.database import Database
from services.trainer.base_sources import configured
from services.trainer.bell import Bell
from services.trainer.catalogue import Catalogue
from services.trainer.control import Control
from services.trainer.creation import Creation, Wish
from services.trainer.models import Models, Request
from services.trainer.registry.bundle import stored_files
from services.trainer.state import State
from services.trainer.tables import MIGRATIONS, ModelRow
from services.trainer.webhooks.addresses import Addresses
from services.trainer.webhooks.outbox import Outbox
from tests.integration.trainer.calls import BASE, DATASET, Suite, run_processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LEASE_SECONDS = 3.0


class Bench:
    """Trainer processes on one store and one database, and a look at the database."""

    def __init__(self, suite: Suite, database_url: str) -> None:
        self._suite = suite
        self._settings = suite.settings(
            lease_seconds=LEASE_SECONDS, heartbeat_seconds=0.5, database=database_url
        )
        self.database = Database(database_url)
        self.database.upgrade(MIGRATIONS)
        self.models = Models(self.database, Bell())
        self._processes: list[subprocess.Popen[bytes]] = []

    def create(self, *, epochs: int) -> str:
        catalogue = Catalogue(self._suite.store, configured(self._settings.bases))
        wish = Wish(
            tenant="default",
            display_name="Tone",
            base_model=BASE,
            dataset=DATASET,
            hyperparameters={"epochs": epochs},
            positive_label="",
        )
        request = Request(actor="anna", request_id="", fingerprint=b"")
        control = Control(self.database, Bell(), addresses=Addresses(), outbox=Outbox())
        creation = Creation(
            self.models, control, catalogue, self._suite.store, addresses=Addresses(), threads=1
        )
        return creation.create(wish, request).id

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a trainer with a scratch directory of its own."""
        settings = self._settings
        log = (self._suite.directory / f"{name}.log").open("wb")
        values = {
            "ADDRESS": "127.0.0.1:0",
            "DATA_DIRECTORY": str(self._suite.directory),
            "SCRATCH_DIRECTORY": str(self._suite.directory / name),
            "DATABASE": settings.database_url,
            "BASES": f'{{"small": "", "tiny": "{self._suite.base}"}}',
            "PUBLISH_BASES": "false",
            "RUN_THREADS": "1",
            "QUEUE_POLL_SECONDS": "0.1",
            "LEASE_SECONDS": str(settings.lease_seconds),
            "HEARTBEAT_SECONDS": str(settings.heartbeat_seconds),
            "QUANTIZE": settings.quantize,
            "CHECKPOINT_SECONDS": "0.2",
        }
        environment = {f"ISOGLOSS_TRAINER_{key}": value for key, value in values.items()}
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.trainer"],
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        return process

    def row(self, model: str) -> ModelRow:
        return self.models.get("default", model)

    def has_checkpoint(self, model: str) -> bool:
        """Return whether a whole one is stored."""
        prefix = layout.checkpoints_prefix("default", model)
        return any(item.key.endswith("/manifest.json") for item in self._suite.store.list(prefix))

    def manifest(self, model: str) -> ModelManifest:
        return manifests.read_manifest(
            self._suite.store, layout.model_manifest("default", model), ModelManifest
        )

    def named(self, model: str) -> set[str]:
        """Return the keys of a published model: nothing else is to stay."""
        files = {file.key for file in stored_files(self.manifest(model))}
        return files | {layout.model_manifest("default", model)}

    def close(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def bench(suite: Suite, request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "sqlite":
        url = f"sqlite:///{suite.directory}/trainer.sqlite"
    else:
        url = request.getfixturevalue("postgres").create_database()
    bench = Bench(suite, url)
    yield bench
    bench.close()


def eventually(is_so: Callable[[], bool], seconds: float = 300.0) -> None:
    """Wait until something is so; the time limit only ends a test that has failed."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.05)


def learning(row: ModelRow) -> bool:
    return row.phase is State.TRAINING and (row.progress or {"step": 0})["step"] > 0


def test_a_trainer_that_is_killed_is_replaced(bench: Bench) -> None:
    model = bench.create(epochs=100)
    first = bench.start("first")
    eventually(lambda: bench.has_checkpoint(model))
    (run,) = run_processes(first.pid)

    first.kill()
    first.wait()
    run.wait(timeout=30)
    bench.start("second")

    eventually(lambda: bench.row(model).phase.ended)
    row = bench.row(model)
    assert (row.phase, row.attempt) == (State.READY, 2)
    assert bench.manifest(model).attempt == 2
    told = [
        event.body.get("message", "")
        for event in bench.models.look("default", model, after=0).events
    ]
    assert any("to go on from" in line for line in told)
    # The model is READY first, so that nobody waits for what is cleared away.
    eventually(lambda: not bench.has_checkpoint(model))


def test_a_trainer_that_was_frozen_harms_nothing_when_it_wakes(bench: Bench, suite: Suite) -> None:
    model = bench.create(epochs=100)
    zombie = bench.start("zombie")
    eventually(lambda: learning(bench.row(model)))
    (run,) = run_processes(zombie.pid)
    for pid in (zombie.pid, run.pid):
        os.kill(pid, signal.SIGSTOP)

    bench.start("heir")
    eventually(lambda: bench.row(model).phase.ended)
    ready = bench.models.look("default", model, after=0)
    published = b"".join(suite.store.get(layout.model_manifest("default", model)))
    for pid in (run.pid, zombie.pid):
        os.kill(pid, signal.SIGCONT)
    run.wait(timeout=60)
    # The zombie is alive, and well enough to do the next run.
    following = bench.create(epochs=1)
    eventually(lambda: bench.row(following).phase.ended)

    after = bench.models.look("default", model, after=0)
    assert ready.row.phase is State.READY
    assert (ready.row.attempt, bench.manifest(model).token) == (2, 2)
    assert [event.sequence for event in after.events] == [e.sequence for e in ready.events]
    assert after.row.revision == ready.row.revision
    assert b"".join(suite.store.get(layout.model_manifest("default", model))) == published
    eventually(lambda: stored(suite, model) == bench.named(model))
    assert zombie.poll() is None
    assert bench.row(following).phase is State.READY


def stored(suite: Suite, model: str) -> set[str]:
    prefix = layout.model_prefix("default", model)
    return {item.key for item in suite.store.list(prefix)}


def test_scratch_of_a_killed_trainer_is_swept_by_the_next(bench: Bench, suite: Suite) -> None:
    model = bench.create(epochs=100)
    first = bench.start("same")
    eventually(lambda: learning(bench.row(model)))
    first.kill()
    first.wait()
    left: list[Path] = list((suite.directory / "same").iterdir())
    bench.start("same")

    assert len(left) == 1
    eventually(lambda: not left[0].exists())
