"""What happened to a model, as pages. Knows nothing of calls."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select

from services.common.database import Database
from services.common.pagination import Page, PageRequest, cut_page, whole_number
from services.trainer.models import find_row
from services.trainer.tables import EventRow


class Kind(StrEnum):
    """What an event is; the values of `EventRow.kind`."""

    ENTERED = "entered"
    MEASURED = "measured"
    LOGGED = "logged"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The events of all models.

    Attributes:
        database: Where they are.
    """

    database: Database

    def events(
        self,
        tenant: str,
        model: str,
        request: PageRequest,
        *,
        kinds: tuple[Kind, ...],
    ) -> Page[EventRow]:
        """Return a page of a model's events, oldest first.

        Args:
            tenant: Whose.
            model: Bare id.
            request: Which page.
            kinds: Only these; empty for all.

        Raises:
            NotFound: Where the tenant has no such model.
            InvalidArgument: Where the page begins at no event's place.
        """
        query = select(EventRow).where(
            EventRow.tenant == tenant,
            EventRow.model == model,
            EventRow.sequence > whole_number(request.cursor, first=0),
        )
        if kinds:
            query = query.where(EventRow.kind.in_(kinds))
        with self.database.read() as session:
            find_row(session, tenant, model)
            rows = list(session.scalars(query.order_by(EventRow.sequence).limit(request.size + 1)))
        return cut_page(rows, request=request, cursor_of=lambda row: (row.sequence,), size_of=_size)

    def measurements(self, tenant: str, model: str, request: PageRequest) -> Page[EventRow]:
        """Return a page of a model's measurements, by step.

        Raises:
            NotFound, InvalidArgument: As `events`.
        """
        after = whole_number(request.cursor, first=-1)
        with self.database.read() as session:
            find_row(session, tenant, model)
            rows = session.scalars(
                select(EventRow)
                .where(
                    EventRow.tenant == tenant,
                    EventRow.model == model,
                    EventRow.kind == Kind.MEASURED,
                )
                .order_by(EventRow.sequence)
            )
            found = _newest(rows)
        return cut_page(
            [row for row in found if row.body["step"] > after],
            request=request,
            cursor_of=lambda row: (row.body["step"],),
        )


def _size(row: EventRow) -> int:
    """Return a bound on the bytes of an event in a response: UTF-8 is no longer than ASCII JSON."""
    return 200 + len(json.dumps(row.body))


def _newest(rows: Iterable[EventRow]) -> list[EventRow]:
    """Return one measurement a step; what a later one at the same step or before replaces goes.

    A run measures some ten times, and a lost one is tried three times at most: they are few.

    Args:
        rows: In the order in which they happened.
    """
    found: list[EventRow] = []
    for row in rows:
        while found and found[-1].body["step"] >= row.body["step"]:
            found.pop()
        found.append(row)
    return found
