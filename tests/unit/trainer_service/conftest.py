"""A queue and its models on a database of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.database import Database
from services.trainer.bell import Bell
from services.trainer.control import Control
from services.trainer.models import Models
from services.trainer.queue import RunQueue
from services.trainer.tables import MIGRATIONS
from services.trainer.webhooks.addresses import Addresses
from services.trainer.webhooks.outbox import Outbox
from tests.unit.trainer_service.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    database = Database(f"sqlite:///{tmp_path}/trainer.sqlite")
    database.upgrade(MIGRATIONS)
    bell = Bell()

    outbox = Outbox()

    def trainer(owner: str = "a", lease_seconds: float = 60.0) -> RunQueue:
        return RunQueue(database, bell, owner=owner, lease_seconds=lease_seconds, outbox=outbox)

    yield Desk(
        database=database,
        models=Models(database, bell),
        control=Control(database, bell, addresses=Addresses(), outbox=outbox),
        trainer=trainer,
    )
    database.close()
