"""What is left in the store of models that have ended: by whoever died between two steps.

A run is closed in the database first and tidied up in the store then. Knows how neither is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import structlog
from sqlalchemy import select, tuple_

from services.common import layout
from services.common.database import Database
from services.common.errors import DataLoss
from services.common.storage import ObjectStore
from services.trainer import publishing
from services.trainer.state import State
from services.trainer.tables import ModelRow

_ROWS_AT_ONCE = 100
_WITHOUT_SUCCESS = (State.FAILED, State.CANCELLED)

_log = structlog.get_logger(__name__)


def remove(database: Database, store: ObjectStore, since: datetime) -> None:
    """Tidy up after all models that ended since then and that nobody tidied up after.

    Others may do the same at the same time, and a look costs one request each.

    Raises:
        Unavailable: Where the database or the store does not answer.
    """
    for row in _ended(database, since):
        try:
            _tidy_up(store, row)
        except DataLoss as error:
            # Its manifest cannot be read: there is nothing that could be kept or taken for sure.
            _log.warning("left-over files stay", model=row.name, error=error.message)


def _tidy_up(store: ObjectStore, row: ModelRow) -> None:
    if row.phase in _WITHOUT_SUCCESS:
        if store.stat(layout.dataset_use(row.tenant, row.dataset, row.id)) is not None:
            _log.info("tidied up after a run", model=row.name, state=row.state)
            publishing.withdraw(store, row)
    elif store.stat(layout.model_pending(row.tenant, row.id)) is not None:
        manifest = publishing.find(store, row.tenant, row.id)
        if manifest is not None:
            _log.info("tidied up after a run", model=row.name, state=row.state)
            publishing.tidy(store, row, manifest)


def _ended(database: Database, since: datetime) -> Iterator[ModelRow]:
    last = (since, "", "")
    while rows := _page(database, last):
        yield from rows
        end = rows[-1]
        last = (end.end_time or since, end.tenant, end.id)


def _page(database: Database, last: tuple[datetime, str, str]) -> Sequence[ModelRow]:
    key = (ModelRow.end_time, ModelRow.tenant, ModelRow.id)
    states = (State.READY, *_WITHOUT_SUCCESS)
    query = (
        select(ModelRow)
        .where(ModelRow.state.in_(states), tuple_(*key) > last)
        .order_by(*key)
        .limit(_ROWS_AT_ONCE)
    )
    with database.read() as session:
        return session.scalars(query).all()
