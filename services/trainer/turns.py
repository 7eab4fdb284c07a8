"""Whose turn it is: tenants take turns for the places, however much each of them has queued.

The tenant with the fewest runs goes first, and of two with as many the one whose last turn is
longest ago.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from services.common.database import Now
from services.trainer.state import ACTIVE
from services.trainer.tables import EvaluationRow, ModelRow

Key = tuple[str, str]
"""Tenant and id of a model."""

Waiting = tuple[str, str, datetime]
"""Tenant and id of a model that waits, and since when."""

Kind = type[ModelRow] | type[EvaluationRow]


def running_of_its_tenant(kind: Kind) -> ColumnElement[int]:
    """Return how many rows its tenant has under way, as SQL beside a row of that kind."""
    other = aliased(kind)
    return (
        select(func.count())
        .select_from(other)
        .where(other.tenant == kind.tenant, other.lease_until > Now())
        .correlate(kind)
        .scalar_subquery()
    )


def last_of_its_tenant(
    kind: Kind, turn: InstrumentedAttribute[datetime | None]
) -> ColumnElement[datetime | None]:
    """Return when its tenant had its turn last, as SQL beside a row of that kind; none is first.

    Args:
        kind: Of the row.
        turn: The column that says when a row had its turn.
    """
    other = aliased(kind)
    return (
        select(func.max(getattr(other, turn.key)))
        .where(other.tenant == kind.tenant)
        .correlate(kind)
        .scalar_subquery()
        .nulls_first()
    )


def positions(session: Session, *, limit: int = 0) -> dict[Key, int]:
    """Return the place of every model that waits for a trainer, 1 being the next.

    Args:
        session: Open.
        limit: Runs of one tenant at the same time; 0 sets none.
    """
    held = ModelRow.lease_until > Now()
    running = Counter(
        session.scalars(select(ModelRow.tenant).where(ModelRow.lease_until.is_not(None), held))
    )
    waiting = session.execute(
        select(ModelRow.tenant, ModelRow.id, ModelRow.queue_time)
        .where(ModelRow.state.in_(ACTIVE), or_(ModelRow.lease_until.is_(None), ~held))
        .order_by(ModelRow.queue_time, ModelRow.id)
    )
    found = [(row[0], row[1], row[2]) for row in waiting]
    last = session.execute(
        select(ModelRow.tenant, func.max(ModelRow.start_time))
        .where(ModelRow.tenant.in_({tenant for tenant, *_ in found}))
        .group_by(ModelRow.tenant)
    )
    turns = {tenant: time for tenant, time in last if time is not None}
    order = in_turn(found, running, turns, limit=limit)
    return {key: place for place, key in enumerate(order, start=1)}


def in_turn(
    waiting: Iterable[Waiting],
    running: Counter[str],
    last: Mapping[str, datetime] | None = None,
    *,
    limit: int = 0,
) -> Sequence[Key]:
    """Return the order in which waiting runs get their places while no other run ends.

    What its tenant's limit keeps waiting comes behind all that could run.

    Args:
        waiting: By time.
        running: Runs under way, by tenant.
        last: When a tenant's run began last; missing where none did.
        limit: Runs of one tenant at the same time; 0 sets none.
    """
    queues: dict[str, deque[tuple[datetime, str]]] = {}
    for tenant, model, since in waiting:
        queues.setdefault(tenant, deque()).append((since, model))
    levels = Counter(running)
    # Those who had a turn, from 1 on; a turn that is given below is later than all of them.
    turns = {tenant: place for place, tenant in enumerate(_by_time(last or {}), start=1)}

    def rank(tenant: str) -> tuple[bool, int, int, datetime, str, str]:
        level, (since, model) = levels[tenant], queues[tenant][0]
        return (0 < limit <= level, level, turns.get(tenant, 0), since, model, tenant)

    ranked = [rank(tenant) for tenant in queues]
    heapq.heapify(ranked)
    order: list[Key] = []
    while ranked:
        *_, model, tenant = heapq.heappop(ranked)
        order.append((tenant, model))
        queues[tenant].popleft()
        levels[tenant] += 1
        turns[tenant] = len(turns) + len(order) + 1
        if queues[tenant]:
            heapq.heappush(ranked, rank(tenant))
    return order


def _by_time(last: Mapping[str, datetime]) -> list[str]:
    return sorted(last, key=last.__getitem__)
