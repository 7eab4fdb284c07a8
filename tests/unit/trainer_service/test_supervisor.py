"""Threads that outlive whatever the queue throws at them."""

from __future__ import annotations

import threading
import time
from contextlib import _GeneratorContextManager
from pathlib import Path

from sqlalchemy.orm import Session

from services.common.database import Database
from services.common.storage import open_store
from services.trainer.bell import Bell
from services.trainer.catalogue import Catalogue
from services.trainer.settings import TrainerSettings
from services.trainer.supervisor import Supervisor
from services.trainer.tables import MIGRATIONS
from services.trainer.webhooks.outbox import Outbox

_TIMEOUT_SECONDS = 20.0


class Broken(Database):
    """A database with a fault that nobody thought of."""

    broken = False
    tries = 0

    def write(self) -> _GeneratorContextManager[Session]:
        """Count, and fail while broken."""
        if self.broken:
            self.tries += 1
            raise ZeroDivisionError
        return super().write()


def test_a_worker_outlives_a_fault_of_any_kind(tmp_path: Path) -> None:
    database = Broken(f"sqlite:///{tmp_path}/trainer.sqlite")
    database.upgrade(MIGRATIONS)
    database.broken = True
    store = open_store(str(tmp_path / "store"))
    settings = TrainerSettings(
        data_directory=tmp_path, publish_bases=False, queue_poll_seconds=0.1, concurrent_runs=1
    )
    supervisor = Supervisor(
        settings,
        database=database,
        store=store,
        catalogue=Catalogue(store, {}),
        bell=Bell(),
        outbox=Outbox(),
    )
    supervisor.start()
    end = time.monotonic() + _TIMEOUT_SECONDS
    try:
        while database.tries < 2 and time.monotonic() < end:
            time.sleep(0.01)
        alive = [thread.name for thread in threading.enumerate()]
    finally:
        supervisor.stop()
        database.close()

    assert database.tries >= 2
    assert "run-0" in alive
