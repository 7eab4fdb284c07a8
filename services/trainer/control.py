"""What callers do with a model that exists: pause, resume, cancel, rename, forget.

Knows nothing of runs, except that a changed token takes a run away from its trainer, and that a
trainer that is asked for a pause gives the run back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.common.database import Database
from services.common.errors import (
    Aborted,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    Reason,
)
from services.common.names import check_display_name
from services.trainer import events
from services.trainer.bell import Bell
from services.trainer.messages import Entered, Logged
from services.trainer.models import find_row
from services.trainer.state import State
from services.trainer.tables import EventRow, ModelRow
from services.trainer.webhooks.addresses import Addresses
from services.trainer.webhooks.outbox import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to become of a model."""

    display_name: str | None = None
    """None where it stays, like `webhook_uri`."""

    webhook_uri: str | None = None
    etag: str = ""
    """What the model must have; empty takes it as it is."""


class Control:
    """Changes to rows, on behalf of callers.

    Args:
        database: Where they are.
        bell: Rung after each change.
        addresses: Where webhooks may go.
        outbox: Takes the news of a model that was cancelled.
        clock: Now, in UTC.
    """

    def __init__(
        self,
        database: Database,
        bell: Bell,
        *,
        addresses: Addresses,
        outbox: Outbox,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts."""
        self._database = database
        self._bell = bell
        self._addresses = addresses
        self._outbox = outbox
        self._clock = clock

    def pause(self, tenant: str, model: str, actor: str) -> ModelRow:
        """Pause a model that waits, or ask its trainer to stop at the next step.

        Raises:
            NotFound: Where the tenant has none of that id.
            FailedPrecondition: Where it has learnt already or has ended.
        """
        with self._database.write() as session:
            row = find_row(session, tenant, model, lock=True)
            if row.phase is State.EXPORTING or row.phase.ended:
                raise _conflict(row, "only a model that waits or learns can be paused.")
            if row.phase is State.TRAINING and self._is_held(session, row):
                if not row.pause_requested:
                    row.pause_requested = True
                    asked = Logged(level="info", message="Asked to pause: stops at the next step.")
                    events.append(session, row, asked, now=self._clock(), actor=actor)
            elif row.phase is not State.PAUSED:
                if row.phase is State.QUEUED and row.lease_until is not None:
                    # A trainer has just taken it and has not begun: this was no attempt.
                    row.attempt -= 1
                self._take_away(row)
                paused = Entered(state=State.PAUSED, reason="Paused by a caller.")
                events.append(session, row, paused, now=self._clock(), actor=actor)
        self._bell.ring()
        return row

    def resume(self, tenant: str, model: str, actor: str) -> ModelRow:
        """Queue a paused model, or take back a pause that is under way.

        Raises:
            NotFound: Where the tenant has none of that id.
            FailedPrecondition: Where it has ended.
        """
        with self._database.write() as session:
            row = find_row(session, tenant, model, lock=True)
            if row.phase.ended:
                raise _conflict(row, "only a paused model can be resumed.")
            now = self._clock()
            if row.phase is State.PAUSED:
                row.queue_time = now
                row.not_before = None
                queued = Entered(state=State.QUEUED, reason="Resumed by a caller.")
                events.append(session, row, queued, now=now, actor=actor)
            elif row.pause_requested:
                row.pause_requested = False
                asked = Logged(level="info", message="Resumed before it had paused.")
                events.append(session, row, asked, now=now, actor=actor)
        self._bell.ring()
        return row

    def cancel(self, tenant: str, model: str, actor: str) -> ModelRow:
        """Cancel a model and take its run away from the trainer.

        Raises:
            NotFound: Where the tenant has none of that id.
            FailedPrecondition: Where it is READY or FAILED.
        """
        with self._database.write() as session:
            row = find_row(session, tenant, model, lock=True)
            if row.phase in (State.READY, State.FAILED):
                raise _conflict(
                    row,
                    "there is nothing left to cancel. "
                    f"`isogloss models delete {row.name}` removes it.",
                )
            if not row.phase.ended:
                self._cancel(session, row, actor)
        self._bell.ring()
        return row

    def stop(self, tenant: str, model: str, actor: str) -> ModelRow:
        """Make sure that nobody works on a model any more, whatever its state; see `cancel`."""
        with self._database.write() as session:
            row = find_row(session, tenant, model, lock=True)
            if not row.phase.ended:
                self._cancel(session, row, actor)
        self._bell.ring()
        return row

    def update(self, tenant: str, model: str, change: Change) -> ModelRow:
        """Change what can be changed of a model.

        Raises:
            InvalidArgument: Naming every field that is wrong.
            Aborted: Where it is not as the caller saw it.
            NotFound: Where the tenant has none of that id.
        """
        violations: list[FieldViolation] = []
        if change.display_name is not None:
            violations += check_display_name(change.display_name, field="model.display_name")
        if change.webhook_uri is not None:
            violations += self._addresses.check(change.webhook_uri, field="model.webhook_uri")
        if violations:
            raise InvalidArgument(violations)
        with self._database.write() as session:
            row = find_row(session, tenant, model, lock=True)
            _check_etag(row, change.etag)
            if change.display_name is not None:
                row.display_name = change.display_name
                row.search_name = change.display_name.casefold()
            if change.webhook_uri is not None:
                row.webhook_uri = change.webhook_uri
            row.revision += 1
            row.update_time = self._clock()
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
        self._take_away(row)
        now = self._clock()
        cancelled = Entered(state=State.CANCELLED, reason="Cancelled by a caller.")
        events.append(session, row, cancelled, now=now, actor=actor)
        self._outbox.note(session, row, now)

    def _take_away(self, row: ModelRow) -> None:
        # The next token is nobody's: whatever the run's trainer still writes is refused, and
        # it stops the run when it notices.
        row.token += 1
        row.lease_until = None
        row.pause_requested = False

    def _is_held(self, session: Session, row: ModelRow) -> bool:
        """Return whether a trainer is there that would give the run back."""
        held = select(ModelRow.lease_until > self._database.now()).where(
            ModelRow.tenant == row.tenant, ModelRow.id == row.id
        )
        return bool(session.scalar(held))


def _conflict(row: ModelRow, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{row.name} is {row.state}: {why}",
        reason=Reason.STATE_CONFLICT,
        metadata={"name": row.name, "state": row.state},
    )


def _check_etag(row: ModelRow, etag: str) -> None:
    if etag and etag != row.etag:
        raise Aborted(
            f"{row.name} has changed since its etag was {etag}: read it again, then decide.",
            reason=Reason.ETAG_MISMATCH,
            metadata={"name": row.name, "etag": row.etag},
        )
