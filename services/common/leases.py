"""Leases with fencing tokens on the rows of any table. Must not know what the rows mean.

A worker claims a row for a while and renews its claim. Each claim raises the row's token; what a
worker writes goes through only under the token that it was given, so that one that was
overtaken while it slept changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.database import Database, UtcDateTime


class LeaseColumns:
    """The columns that a leased row needs; mixed into a mapped class."""

    owner: Mapped[str | None] = mapped_column(sa.String(200), default=None)
    """Who holds the row, for people."""

    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    """Until when, by the database's clock; None while nobody holds it."""

    attempt: Mapped[int] = mapped_column(sa.Integer, default=0)
    """How often it was claimed."""

    token: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Raised by each claim, and by whoever takes the row away. Never lowered."""


Row = TypeVar("Row", bound=LeaseColumns)
Ordering = sa.ColumnElement[Any] | sa.orm.InstrumentedAttribute[Any]
Orderings = Ordering | tuple[Ordering, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write to one row until somebody else has a higher token."""

    key: tuple[Any, ...]
    """The row's primary key."""

    token: int
    attempt: int
    """From 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Generic[Row]):
    """A row and the right to it."""

    row: Row
    """As it was when it was claimed; unattached."""

    lease: Lease


class LeaseLost(Exception):
    """Somebody else has the row, or it is gone: stop, and write nothing more."""


class LeaseQueue(Generic[Row]):
    """Claims rows of one table.

    Args:
        database: Where the table is.
        row: Its mapped class.
        owner: Who claims, for people.
        seconds: How long a claim holds without a renewal. Renew at least three times in it.
    """

    def __init__(
        self, database: Database, row: type[Row], *, owner: str, seconds: float = 60.0
    ) -> None:
        """Keep the parts."""
        self._database = database
        self._row = row
        self._owner = owner
        self._seconds = seconds
        mapper = cast("sa.orm.Mapper[Row]", sa.inspect(row))
        self._key = mapper.primary_key

    def claim(
        self,
        *ready: sa.ColumnElement[bool],
        order_by: Orderings,
        values: Mapping[str, object] | None = None,
    ) -> Claim[Row] | None:
        """Claim the first row that is ready and that nobody holds; see `claim_in`."""
        with self._database.write() as session:
            return self.claim_in(session, *ready, order_by=order_by, values=values)

    def claim_in(
        self,
        session: Session,
        *ready: sa.ColumnElement[bool],
        order_by: Orderings,
        values: Mapping[str, object] | None = None,
    ) -> Claim[Row] | None:
        """Claim the first row that is ready and that nobody holds, in one statement.

        Args:
            session: An open write transaction.
            ready: Conditions on the row beside the lease, such as its state.
            order_by: Column or columns that say which is first.
            values: Further columns to set.

        Returns:
            The row as it is now, or None where there is none.
        """
        row = self._row
        order = order_by if isinstance(order_by, tuple) else (order_by,)
        free = sa.or_(row.lease_until.is_(None), row.lease_until <= self._database.now())
        picked = (
            sa.select(*self._key)
            .where(*ready, free)
            .order_by(*order)
            .limit(1)
            # Others step past a row that is being claimed; SQLite has one writer anyway.
            .with_for_update(skip_locked=True)
            .cte("picked")
            # Without this PostgreSQL may run the query again for each row that it updates.
            .prefix_with("MATERIALIZED", dialect="postgresql")
        )
        statement = (
            sa.update(row)
            .where(*(column == picked.c[column.name] for column in self._key))
            .values(
                {
                    **(values or {}),
                    "owner": self._owner,
                    "lease_until": self._database.now(self._seconds),
                    "attempt": row.attempt + 1,
                    "token": row.token + 1,
                }
            )
            .returning(row)
            .execution_options(synchronize_session=False)
        )
        claimed = session.scalars(statement).one_or_none()
        if claimed is None:
            return None
        key = tuple(sa.inspect(claimed).identity)
        return Claim(
            row=claimed, lease=Lease(key=key, token=claimed.token, attempt=claimed.attempt)
        )

    def renew(self, lease: Lease) -> None:
        """Hold the row for another while. A lease that ran out but was not taken goes on.

        Raises:
            LeaseLost: Where it was taken, released, or the row is gone.
        """
        self.update(lease, {"lease_until": self._database.now(self._seconds)})

    def update(self, lease: Lease, values: Mapping[str, object], *, release: bool = False) -> None:
        """Set columns of the row under the lease.

        Args:
            lease: The right to do so.
            values: Columns by name.
            release: Give the row up with it.

        Raises:
            LeaseLost: As `renew`.
        """
        ending: dict[str, object] = {"owner": None, "lease_until": None} if release else {}
        with self._database.write() as session:
            self.fence(session, lease, {**values, **ending})

    def fence(
        self, session: Session, lease: Lease, values: Mapping[str, object] | None = None
    ) -> None:
        """As `update`, in a transaction of the caller's; what follows in it is guarded too.

        Raises:
            LeaseLost: As `renew`; let it end the transaction.
        """
        row = self._row
        statement = (
            sa.update(row)
            .where(
                *(column == part for column, part in zip(self._key, lease.key, strict=True)),
                row.token == lease.token,
                row.lease_until.is_not(None),
            )
            # Writing something always takes PostgreSQL's lock on the row until the commit.
            .values({"token": lease.token, **(values or {})})
            .execution_options(synchronize_session=False)
        )
        if cast("sa.CursorResult[Any]", session.execute(statement)).rowcount != 1:
            raise LeaseLost
