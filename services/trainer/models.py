"""Models as callers see and change them: rows of the database, one tenant at a time.

Knows nothing of runs, except that a changed token takes a run away from its trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from services.common.database import Database
from services.common.errors import FailedPrecondition, NotFound, Reason
from services.common.pagination import Page, PageRequest, cut_page, time_and_id
from services.common.requests import claim_request, find_request
from services.trainer import events
from services.trainer.bell import Bell
from services.trainer.messages import Entered
from services.trainer.state import State
from services.trainer.tables import EventRow, ModelRow, RequestRow


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModel:
    """A model to create; everything was checked."""

    tenant: str
    id: str
    display_name: str
    base_model: str
    dataset: str
    dataset_content_hash: str
    label_count: int
    hyperparameters: Mapping[str, float]
    positive_label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who asked for a change, and under which id."""

    actor: str
    request_id: str
    """Empty: the call may not be repeated."""

    fingerprint: bytes
    """The same for the same request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """A model and what happened to it since somebody last looked."""

    row: ModelRow
    events: list[EventRow]


class Models:
    """The rows.

    Args:
        database: Where they are.
        bell: Rung after each change.
        clock: Now, in UTC.
    """

    def __init__(
        self,
        database: Database,
        bell: Bell,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts."""
        self._database = database
        self._bell = bell
        self._clock = clock

    def add(self, new: NewModel, request: Request) -> ModelRow:
        """Queue a model, or return the one that the same request queued before."""
        now = self._clock()
        with self._database.write() as session:
            before = claim_request(
                session,
                RequestRow,
                tenant=new.tenant,
                method="CreateModel",
                request_id=request.request_id,
                fingerprint=request.fingerprint,
                resource=new.id,
                now=now,
            )
            if before is not None:
                return _get(session, new.tenant, before)
            row = draft(new, now)
            session.add(row)
            queued = Entered(state=State.QUEUED, reason="Waiting for a trainer.")
            events.append(session, row, queued, now=now, actor=request.actor)
        self._bell.ring()
        return row

    def repeated(self, tenant: str, request: Request) -> ModelRow | None:
        """Return the model that the same request queued before; None where there is none.

        Raises:
            AlreadyExists, InvalidArgument: As `find_request`.
            NotFound: Where that model was deleted.
        """
        with self._database.read() as session:
            before = find_request(
                session,
                RequestRow,
                tenant=tenant,
                method="CreateModel",
                request_id=request.request_id,
                fingerprint=request.fingerprint,
            )
            return None if before is None else _get(session, tenant, before)

    def get(self, tenant: str, model: str) -> ModelRow:
        """Return one model.

        Raises:
            NotFound: Where the tenant has none of that id.
        """
        with self._database.read() as session:
            return _get(session, tenant, model)

    def exists(self, tenant: str, model: str) -> bool:
        """Return whether the tenant has a model of that id."""
        with self._database.read() as session:
            return session.get(ModelRow, (tenant, model)) is not None

    def list(
        self, tenant: str, request: PageRequest, size_of: Callable[[ModelRow], int]
    ) -> Page[ModelRow]:
        """Return a page of models, newest first.

        Raises:
            InvalidArgument: Where the page begins at no model's place.
        """
        query = select(ModelRow).where(ModelRow.tenant == tenant)
        if request.cursor is not None:
            time, last = time_and_id(request.cursor)
            older = ModelRow.create_time < time
            query = query.where(or_(older, and_(ModelRow.create_time == time, ModelRow.id < last)))
        query = query.order_by(ModelRow.create_time.desc(), ModelRow.id.desc())
        with self._database.read() as session:
            rows = list(session.scalars(query.limit(request.size + 1)))
        return cut_page(
            rows,
            request=request,
            cursor_of=lambda row: (row.create_time.isoformat(), row.id),
            size_of=size_of,
        )

    def look(self, tenant: str, model: str, *, after: int, limit: int = 200) -> Glimpse:
        """Return a model and its first `limit` events whose sequence is greater than `after`.

        Raises:
            NotFound: Where the tenant has none of that id.
        """
        with self._database.read() as session:
            row = _get(session, tenant, model)
            return Glimpse(row=row, events=events.after(session, row, after, limit=limit))

    def cancel(self, tenant: str, model: str, actor: str) -> ModelRow:
        """Cancel a model and take its run away from the trainer.

        Raises:
            NotFound: Where the tenant has none of that id.
            FailedPrecondition: Where it is READY or FAILED.
        """
        with self._database.write() as session:
            row = _get(session, tenant, model, lock=True)
            if row.phase in (State.READY, State.FAILED):
                raise FailedPrecondition(
                    f"{row.name} is {row.state}: there is nothing left to cancel. "
                    f"`isogloss models delete {row.name}` removes it.",
                    reason=Reason.STATE_CONFLICT,
                    metadata={"name": row.name, "state": row.state},
                )
            if not row.phase.ended:
                self._cancel(session, row, actor)
        self._bell.ring()
        return row

    def stop(self, tenant: str, model: str, actor: str) -> ModelRow:
        """Make sure that nobody works on a model any more, whatever its state; see `cancel`."""
        with self._database.write() as session:
            row = _get(session, tenant, model, lock=True)
            if not row.phase.ended:
                self._cancel(session, row, actor)
        self._bell.ring()
        return row

    def forget(self, tenant: str, model: str) -> None:
        """Remove the rows of a model."""
        with self._database.write() as session:
            session.execute(
                delete(EventRow).where(EventRow.tenant == tenant, EventRow.model == model)
            )
            session.execute(delete(ModelRow).where(ModelRow.tenant == tenant, ModelRow.id == model))
        self._bell.ring()

    def _cancel(self, session: Session, row: ModelRow, actor: str) -> None:
        # The next token is nobody's: whatever the run's trainer still writes is refused, and
        # it stops the run when it notices.
        row.token += 1
        row.lease_until = None
        cancelled = Entered(state=State.CANCELLED, reason="Cancelled by a caller.")
        events.append(session, row, cancelled, now=self._clock(), actor=actor)


def draft(new: NewModel, now: datetime) -> ModelRow:
    """Return the row of a new model, QUEUED, without an event yet."""
    return ModelRow(
        tenant=new.tenant,
        id=new.id,
        display_name=new.display_name,
        base_model=new.base_model,
        dataset=new.dataset,
        dataset_content_hash=new.dataset_content_hash,
        hyperparameters=dict(new.hyperparameters),
        positive_label=new.positive_label,
        label_count=new.label_count,
        state=State.QUEUED,
        state_reason="",
        attempt=0,
        token=0,
        dimension=0,
        max_tokens=0,
        create_time=now,
        update_time=now,
        last_sequence=0,
        revision=0,
    )


def _get(session: Session, tenant: str, model: str, *, lock: bool = False) -> ModelRow:
    row = session.get(ModelRow, (tenant, model), with_for_update=lock or None)
    if row is None:
        raise NotFound(f"models/{model}", hint="`isogloss models list` shows what there is.")
    return row
