"""Several trainers on one database share its queue."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from services.common.database import Database
from services.trainer.bell import Bell
from services.trainer.models import Models, Request
from services.trainer.queue import RunQueue
from services.trainer.tables import MIGRATIONS
from services.trainer.webhooks.outbox import Outbox
from tests.unit.trainer_service.desk import new_model

TRAINERS, RUNS_EACH = 3, 4


def test_trainers_that_ask_at_the_same_moment_each_take_another_run(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(TRAINERS)]
    databases[0].upgrade(MIGRATIONS)
    models = Models(databases[0], Bell())
    names = [f"tone-{number:02}" for number in range(TRAINERS * RUNS_EACH)]
    for name in names:
        models.add(new_model(name), Request(actor="anna", request_id="", fingerprint=b""))
    together = threading.Barrier(TRAINERS)

    def work(database: Database) -> list[str]:
        trainer = RunQueue(database, Bell(), owner="t", lease_seconds=60.0, outbox=Outbox())
        taken = []
        for _ in range(RUNS_EACH):
            together.wait()
            run = trainer.claim()
            assert run is not None
            taken.append(run.row.id)
        return taken

    with ThreadPoolExecutor(TRAINERS) as pool:
        taken = list(pool.map(work, databases))
    for database in databases:
        database.close()

    assert sorted(name for each in taken for name in each) == names
