"""Idempotent creation by `request_id` (AIP-155), on a table of the service's own."""

from __future__ import annotations

import hashlib
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.database import UtcDateTime
from services.common.errors import AlreadyExists, FieldViolation, InvalidArgument, Reason

MAX_REQUEST_ID = 64
"""Characters: a UUID has 36."""


class RequestColumns:
    """The columns of a table of requests; mixed into a mapped class."""

    tenant: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    method: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    request_id: Mapped[str] = mapped_column(sa.String(MAX_REQUEST_ID), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    """sha256 of the request."""
    resource: Mapped[str] = mapped_column(sa.String(200))
    """What it created."""
    create_time: Mapped[datetime] = mapped_column(UtcDateTime)


def check_request_id(request_id: str) -> list[FieldViolation]:
    """Return what is wrong with the form of a request id; an empty one is right."""
    if len(request_id) <= MAX_REQUEST_ID and request_id.isprintable():
        return []
    return [
        FieldViolation(
            field="request_id",
            description=f"takes at most {MAX_REQUEST_ID} printable characters: send a UUID.",
        )
    ]


def find_request(
    session: Session,
    table: type[RequestColumns],
    *,
    tenant: str,
    method: str,
    request_id: str,
    fingerprint: bytes,
) -> str | None:
    """Return what the same request created before; None where it is new or has no id.

    Looked up before the request is checked against what exists, a call that is repeated gets
    the same answer although something changed since. The arguments are those of
    `claim_request`.

    Raises:
        AlreadyExists, InvalidArgument: As `claim_request`.
    """
    if violations := check_request_id(request_id):
        raise InvalidArgument(violations)
    if not request_id:
        return None
    before = session.execute(
        sa.select(table.fingerprint, table.resource).where(
            table.tenant == tenant, table.method == method, table.request_id == request_id
        )
    ).one_or_none()
    if before is None:
        return None
    if before.fingerprint != hashlib.sha256(fingerprint).hexdigest():
        raise AlreadyExists(
            f"request_id {request_id} was used before with another request: send a new one.",
            reason=Reason.REQUEST_ID_REUSED,
            metadata={"request_id": request_id},
        )
    return str(before.resource)


def claim_request(
    session: Session,
    table: type[RequestColumns],
    *,
    tenant: str,
    method: str,
    request_id: str,
    fingerprint: bytes,
    resource: str,
    now: datetime,
) -> str | None:
    """Note that `request_id` creates `resource`, unless it created something before.

    Of two transactions at once, the second waits for the first.

    Args:
        session: The transaction that also creates the resource.
        table: The service's table of requests.
        tenant: Whose request it is: ids of several tenants do not meet.
        method: What was called.
        request_id: The caller's; empty where it wants no such guarantee.
        fingerprint: The request's content, the same bytes for the same content.
        resource: What will be created.
        now: The time to note.

    Returns:
        None where the caller goes on and creates `resource`; otherwise the resource that the
        same request created before.

    Raises:
        AlreadyExists: Where the id was used with another content.
        InvalidArgument: Where the id is too long or cannot be shown.
    """
    if not request_id:
        return None
    if violations := check_request_id(request_id):
        raise InvalidArgument(violations)
    digest = hashlib.sha256(fingerprint).hexdigest()
    sqlite_session = session.get_bind().dialect.name == "sqlite"
    values = {
        "tenant": tenant,
        "method": method,
        "request_id": request_id,
        "fingerprint": digest,
        "resource": resource,
        "create_time": now,
    }
    insert = sqlite.insert(table) if sqlite_session else postgresql.insert(table)
    fresh = session.execute(
        insert.values(values).on_conflict_do_nothing().returning(table.resource)
    ).scalar()
    if fresh is not None:
        return None
    return find_request(
        session,
        table,
        tenant=tenant,
        method=method,
        request_id=request_id,
        fingerprint=fingerprint,
    )


def forget_requests(session: Session, table: type[RequestColumns], before: datetime) -> None:
    """Forget the ids of requests that are older than `before`: they count as new from then on."""
    session.execute(sa.delete(table).where(table.create_time < before))
