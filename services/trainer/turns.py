"""Whose turn it is: tenants take turns for the places, however much each of them has queued.

The tenant with the fewest runs goes first, and of two with as many the one that waits longest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session, aliased

from services.common.database import Now
from services.trainer.state import ACTIVE
from services.trainer.tables import ModelRow

Key = tuple[str, str]
"""Tenant and id of a model."""

Waiting = tuple[str, str, datetime]
"""Tenant and id of a model that waits, and since when."""


def running_of_its_tenant() -> ColumnElement[int]:
    """Return the number of runs that a row's tenant has under way, as SQL beside `ModelRow`."""
    other = aliased(ModelRow)
    return (
        select(func.count())
        .select_from(other)
        .where(other.tenant == ModelRow.tenant, other.lease_until > Now())
        .correlate(ModelRow)
        .scalar_subquery()
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
    order = in_turn(((row[0], row[1], row[2]) for row in waiting), running, limit=limit)
    return {key: place for place, key in enumerate(order, start=1)}


def in_turn(waiting: Iterable[Waiting], running: Counter[str], *, limit: int = 0) -> Sequence[Key]:
    """Return the order in which waiting runs get their places while no other run ends.

    Each place goes to the tenant with the fewest runs by then, so a tenant's n-th run comes at
    the level `running + n`, and levels go in order. What its tenant's limit keeps waiting comes
    behind all that could run.

    Args:
        waiting: By time.
        running: Runs under way, by tenant.
        limit: Runs of one tenant at the same time; 0 sets none.
    """
    levels = Counter(running)
    ranked: list[tuple[bool, int, datetime, Key]] = []
    for tenant, model, since in waiting:
        level = levels[tenant]
        ranked.append((0 < limit <= level, level, since, (tenant, model)))
        levels[tenant] += 1
    return [key for *_, key in sorted(ranked)]
