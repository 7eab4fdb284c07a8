"""What happened to a model, in the order in which it happened."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.trainer.messages import Entered, Logged, Measured
from services.trainer.state import State
from services.trainer.tables import EventRow, ModelRow

SYSTEM = "system"
"""The actor of what no caller caused."""

_STANDING = (State.QUEUED, State.PAUSED)


def append(
    session: Session,
    row: ModelRow,
    event: Entered | Measured | Logged,
    *,
    now: datetime,
    actor: str = SYSTEM,
) -> None:
    """Add the event and change the row accordingly.

    Args:
        session: An open write transaction that holds the row's lock.
        row: The model, attached to the session.
        event: What happened.
        now: When.
        actor: Who caused it.
    """
    row.last_sequence += 1
    row.revision += 1
    row.update_time = now
    body = asdict(event)
    if isinstance(event, Entered):
        row.state = event.state
        row.state_reason = event.reason
        if event.state.ended:
            row.end_time = now
        if event.state in _STANDING and row.progress is not None:
            # Nobody works on it: how long it still takes is not known.
            row.progress = {**row.progress, "eta_seconds": None}
    elif isinstance(event, Measured):
        row.metrics = {**body, "create_time": now.isoformat()}
    session.add(
        EventRow(
            tenant=row.tenant,
            model=row.id,
            sequence=row.last_sequence,
            create_time=now,
            actor=actor,
            attempt=row.attempt,
            kind=type(event).__name__.lower(),
            body=body,
        )
    )


def after(session: Session, row: ModelRow, sequence: int, *, limit: int) -> list[EventRow]:
    """Return the first `limit` events whose sequence is greater."""
    query = (
        select(EventRow)
        .where(
            EventRow.tenant == row.tenant,
            EventRow.model == row.id,
            EventRow.sequence > sequence,
            # What was added since the row was read is for the next look.
            EventRow.sequence <= row.last_sequence,
        )
        .order_by(EventRow.sequence)
        .limit(limit)
    )
    return list(session.scalars(query))
