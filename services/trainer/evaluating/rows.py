"""Evaluations as callers see and change them: rows of the database, one tenant at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.orm import Session

from services.common.database import Database
from services.common.errors import NotFound, Reason, ResourceExhausted
from services.common.pagination import Page, PageRequest, cut_page, time_and_id
from services.common.requests import claim_request
from services.trainer.bell import Bell
from services.trainer.evaluating.state import ACTIVE, State
from services.trainer.models import Request, find_row
from services.trainer.tables import EvaluationRow, RequestRow

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH = 12
# 32**12 = 1.2e18: no two evaluations of a model ever share an id.

MAX_WAITING = 100
"""Evaluations of one tenant that are not done yet: a trainer does one after the other, for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvaluation:
    """An evaluation to queue; everything was checked."""

    tenant: str
    model: str
    """Bare id, like `dataset`."""

    dataset: str
    dataset_content_hash: str
    split: str
    """`train`, `validation` or `test`."""


class Evaluations:
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

    def add(self, new: NewEvaluation, request: Request) -> EvaluationRow:
        """Queue an evaluation, or return the one that the same request queued before.

        Raises:
            NotFound: Where the model was deleted meanwhile.
            ResourceExhausted: Where as many of the tenant's wait as may be.
        """
        now = self._clock()
        row = EvaluationRow(
            tenant=new.tenant,
            model=new.model,
            id="".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH)),
            dataset=new.dataset,
            dataset_content_hash=new.dataset_content_hash,
            split=new.split,
            state=State.QUEUED,
            attempt=0,
            token=0,
            create_time=now,
        )
        with self._database.write() as session:
            before = claim_request(
                session,
                RequestRow,
                tenant=new.tenant,
                method="EvaluateModel",
                request_id=request.request_id,
                fingerprint=request.fingerprint,
                resource=row.id,
                now=now,
            )
            if before is not None:
                return _get(session, new.tenant, new.model, before)
            # Held until the row is there: a deletion of the model comes before or finds it.
            find_row(session, new.tenant, new.model, lock=True)
            _check_room(session, new.tenant)
            session.add(row)
        self._bell.ring()
        return row

    def get(self, tenant: str, model: str, evaluation: str) -> EvaluationRow:
        """Return one evaluation.

        Raises:
            NotFound: Where the model has none of that id.
        """
        with self._database.read() as session:
            return _get(session, tenant, model, evaluation)

    def list(self, tenant: str, model: str, request: PageRequest) -> Page[EvaluationRow]:
        """Return a page of a model's evaluations, newest first.

        Raises:
            InvalidArgument: Where the page begins at no evaluation's place.
        """
        query = select(EvaluationRow).where(
            EvaluationRow.tenant == tenant, EvaluationRow.model == model
        )
        if request.cursor is not None:
            time, last = time_and_id(request.cursor)
            older = EvaluationRow.create_time < time
            same = and_(EvaluationRow.create_time == time, EvaluationRow.id < last)
            query = query.where(or_(older, same))
        query = query.order_by(EvaluationRow.create_time.desc(), EvaluationRow.id.desc())
        with self._database.read() as session:
            rows = list(session.scalars(query.limit(request.size + 1)))
        return cut_page(
            rows,
            request=request,
            cursor_of=lambda row: (row.create_time.isoformat(), row.id),
            size_of=lambda row: len(str(row.result)),
        )

    def latest(
        self, tenant: str, model: str, *, dataset: str, split: str | None
    ) -> EvaluationRow | None:
        """Return a model's latest READY evaluation of a dataset; of any split where it is None."""
        query = select(EvaluationRow).where(
            EvaluationRow.tenant == tenant,
            EvaluationRow.model == model,
            EvaluationRow.dataset == dataset,
            EvaluationRow.state == State.READY,
        )
        if split is not None:
            query = query.where(EvaluationRow.split == split)
        with self._database.read() as session:
            return session.scalars(
                query.order_by(EvaluationRow.create_time.desc()).limit(1)
            ).one_or_none()

    def datasets(self, tenant: str, model: str) -> set[str]:
        """Return the ids of all datasets that a model's evaluations read."""
        query = select(EvaluationRow.dataset).where(
            EvaluationRow.tenant == tenant, EvaluationRow.model == model
        )
        with self._database.read() as session:
            return set(session.scalars(query))

    def forget(self, tenant: str, model: str, evaluation: str | None = None) -> None:
        """Remove one row of a model, or all; whoever works on one has lost it."""
        query = delete(EvaluationRow).where(
            EvaluationRow.tenant == tenant, EvaluationRow.model == model
        )
        if evaluation is not None:
            query = query.where(EvaluationRow.id == evaluation)
        with self._database.write() as session:
            session.execute(query)
        self._bell.ring()


def _check_room(session: Session, tenant: str) -> None:
    count = session.scalar(
        select(func.count())
        .select_from(EvaluationRow)
        .where(EvaluationRow.tenant == tenant, EvaluationRow.state.in_(ACTIVE))
    )
    if (count or 0) >= MAX_WAITING:
        raise ResourceExhausted(
            f"{count} of your evaluations wait, and {MAX_WAITING} may: try again when some of "
            "them are READY.",
            reason=Reason.QUOTA_EXCEEDED,
            metadata={"queued_count": str(count), "limit": str(MAX_WAITING)},
        )


def _get(session: Session, tenant: str, model: str, evaluation: str) -> EvaluationRow:
    row = session.get(EvaluationRow, (tenant, model, evaluation))
    if row is None:
        raise NotFound(
            f"models/{model}/evaluations/{evaluation}",
            hint=f"`isogloss models evaluations models/{model}` shows what there is.",
        )
    return row
