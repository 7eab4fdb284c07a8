"""Forgets what nobody wants any more: lines of old runs, ids of old requests, and leftovers.

Each sweep can be cut short anywhere and be repeated, beside others that do the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session

from services.common.database import Database
from services.common.errors import IsoglossError
from services.common.requests import forget_requests
from services.common.storage import ObjectStore
from services.trainer import leftovers
from services.trainer.history import Kind
from services.trainer.tables import EventRow, ModelRow, RequestRow

_SWEEP_SECONDS = 3600.0
_REQUESTS_KEPT = timedelta(days=7)
# A call is repeated within minutes; a job that was held up over a weekend still is safe.

_ENDED_LATELY = timedelta(days=7)
# A trainer may have been down since its run ended; later sweeps need not look again and again.

_MODELS_AT_ONCE = 100
_LINES = (Kind.LOGGED, Kind.MEASURED)

_log = structlog.get_logger(__name__)


class Sweep:
    """Forgets, for all tenants.

    Args:
        database: With the tables of `services.trainer.tables`.
        store: Where models are.
        lines_kept: How long the lines of a run are kept after its end; None keeps them.
        clock: Now, in UTC.
    """

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        *,
        lines_kept: timedelta | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts."""
        self._database = database
        self._store = store
        self._lines_kept = lines_kept
        self._clock = clock

    async def serve(self) -> None:
        """Sweep every hour until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.forget)
            except IsoglossError as error:
                _log.warning("the sweep is tried again", error=error.message)
            await asyncio.sleep(_SWEEP_SECONDS)

    def forget(self) -> None:
        """Forget all that is old enough.

        Raises:
            IsoglossError: Where the database or the store does not answer.
        """
        now = self._clock()
        with self._database.write() as session:
            forget_requests(session, RequestRow, now - _REQUESTS_KEPT)
        if self._lines_kept is not None:
            while self._forget_lines(now - self._lines_kept):
                # Others write in between.
                pass
        leftovers.remove(self._database, self._store, now - _ENDED_LATELY)

    def _forget_lines(self, before: datetime) -> bool:
        """Forget the lines of some runs that ended before; return whether there were any."""
        # Every run has a log: it tells where it computes.
        logged = exists().where(
            EventRow.tenant == ModelRow.tenant,
            EventRow.model == ModelRow.id,
            EventRow.kind == Kind.LOGGED,
        )
        with self._database.write() as session:
            models = session.execute(
                select(ModelRow.tenant, ModelRow.id)
                .where(ModelRow.end_time < before, logged)
                .limit(_MODELS_AT_ONCE)
            ).all()
            for tenant, model in models:
                _forget_lines_of(session, tenant, model)
        return bool(models)


def _forget_lines_of(session: Session, tenant: str, model: str) -> None:
    of_model = (EventRow.tenant == tenant, EventRow.model == model)
    last = select(func.max(EventRow.sequence)).where(*of_model, EventRow.kind == Kind.MEASURED)
    measured_last = session.scalar(last)
    session.execute(
        delete(EventRow)
        .where(*of_model, EventRow.kind.in_(_LINES), EventRow.sequence != (measured_last or 0))
        .execution_options(synchronize_session=False)
    )
