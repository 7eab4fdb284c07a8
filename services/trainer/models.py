"""Models as callers see them: rows of the database, one tenant at a time. Knows nothing of runs.

What callers change of them is in `control`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from services.common.database import Database
from services.common.errors import NotFound
from services.common.pagination import Page, PageRequest, cut_page, time_and_id
from services.common.requests import claim_request, find_request
from services.trainer import events, turns
from services.trainer.bell import Bell
from services.trainer.estimate import Estimate
from services.trainer.messages import Entered
from services.trainer.quota import Quota
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
    webhook_uri: str = ""
    estimate: Estimate | None = None
    """None where the size of the base is not known yet."""

    auto_start: bool = True
    """Otherwise it is PAUSED at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which models a list holds; what is empty leaves all."""

    states: tuple[State, ...] = ()
    name_part: str = ""
    """Of the display name, whatever the case."""

    dataset: str = ""
    """Bare id, like `base_model`."""

    base_model: str = ""


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
    queue_position: int
    events: list[EventRow]


class Models:
    """The rows.

    Args:
        database: Where they are.
        bell: Rung after each change.
        quota: How many models of a tenant may wait.
        max_runs_per_tenant: As trainers have it; places in the queue depend on it.
        clock: Now, in UTC.
    """

    def __init__(
        self,
        database: Database,
        bell: Bell,
        *,
        quota: Quota | None = None,
        max_runs_per_tenant: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts."""
        self._database = database
        self._bell = bell
        self._quota = quota or Quota()
        self._max_runs_per_tenant = max_runs_per_tenant
        self._clock = clock

    def add(self, new: NewModel, request: Request) -> ModelRow:
        """Queue a model, or return the one that the same request queued before.

        Raises:
            ResourceExhausted: Where the tenant has as many that wait as may be.
        """
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
                return find_row(session, new.tenant, before)
            self._quota.check(session, new.tenant)
            row = draft(new, now)
            session.add(row)
            reason = "Waiting for a trainer." if new.auto_start else "Waiting to be resumed."
            entered = Entered(state=row.phase, reason=reason)
            events.append(session, row, entered, now=now, actor=request.actor)
        self._bell.ring()
        return row

    def check_room(self, tenant: str) -> None:
        """Make sure that one more model of the tenant may wait.

        Raises:
            ResourceExhausted: Where there are as many as may be.
        """
        with self._database.read() as session:
            self._quota.check(session, tenant)

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
            return None if before is None else find_row(session, tenant, before)

    def get(self, tenant: str, model: str) -> ModelRow:
        """Return one model.

        Raises:
            NotFound: Where the tenant has none of that id.
        """
        with self._database.read() as session:
            return find_row(session, tenant, model)

    def exists(self, tenant: str, model: str) -> bool:
        """Return whether the tenant has a model of that id."""
        with self._database.read() as session:
            return session.get(ModelRow, (tenant, model)) is not None

    def list(
        self,
        tenant: str,
        request: PageRequest,
        size_of: Callable[[ModelRow], int],
        wanted: Filter | None = None,
    ) -> Page[ModelRow]:
        """Return a page of models, newest first.

        Raises:
            InvalidArgument: Where the page begins at no model's place.
        """
        query = select(ModelRow).where(ModelRow.tenant == tenant, *_conditions(wanted or Filter()))
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
            row = find_row(session, tenant, model)
            return Glimpse(
                row=row,
                queue_position=self._positions(session, [row]).get(row.id, 0),
                events=events.after(session, row, after, limit=limit),
            )

    def positions(self, rows: Sequence[ModelRow]) -> dict[str, int]:
        """Return the places in the queue of those of a tenant's models that wait, by id."""
        with self._database.read() as session:
            return self._positions(session, rows)

    def _positions(self, session: Session, rows: Sequence[ModelRow]) -> dict[str, int]:
        waiting = [row for row in rows if row.phase is State.QUEUED]
        if not waiting:
            return {}
        places = turns.positions(session, limit=self._max_runs_per_tenant)
        keys = ((row.tenant, row.id) for row in waiting)
        return {key[1]: places[key] for key in keys if key in places}


def draft(new: NewModel, now: datetime) -> ModelRow:
    """Return the row of a new model, QUEUED or PAUSED, without an event yet."""
    return ModelRow(
        tenant=new.tenant,
        id=new.id,
        display_name=new.display_name,
        search_name=new.display_name.casefold(),
        base_model=new.base_model,
        dataset=new.dataset,
        dataset_content_hash=new.dataset_content_hash,
        hyperparameters=dict(new.hyperparameters),
        positive_label=new.positive_label,
        label_count=new.label_count,
        webhook_uri=new.webhook_uri,
        estimate=None if new.estimate is None else asdict(new.estimate),
        state=State.QUEUED if new.auto_start else State.PAUSED,
        state_reason="",
        queue_time=now,
        pause_requested=False,
        attempt=0,
        token=0,
        dimension=0,
        max_tokens=0,
        create_time=now,
        update_time=now,
        last_sequence=0,
        revision=0,
    )


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.states:
        found.append(ModelRow.state.in_(wanted.states))
    if wanted.name_part:
        part = wanted.name_part.casefold()
        found.append(ModelRow.search_name.contains(part, autoescape=True))
    if wanted.dataset:
        found.append(ModelRow.dataset == wanted.dataset)
    if wanted.base_model:
        found.append(ModelRow.base_model == wanted.base_model)
    return found


def find_row(session: Session, tenant: str, model: str, *, lock: bool = False) -> ModelRow:
    """Return the row of a model.

    Args:
        session: Open; for writing where `lock` is set.
        tenant: Whose.
        model: Bare id.
        lock: Keep others from changing it until the transaction ends.

    Raises:
        NotFound: Where the tenant has none of that id.
    """
    row = session.get(ModelRow, (tenant, model), with_for_update=lock or None)
    if row is None:
        raise NotFound(f"models/{model}", hint="`isogloss models list` shows what there is.")
    return row
