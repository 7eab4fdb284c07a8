"""Evaluations that wait for a trainer: whose turn it is. Knows nothing of how one is done."""

from __future__ import annotations

from sqlalchemy import or_

from services.common.database import Database, take_turns
from services.common.leases import Claim, LeaseQueue
from services.trainer import turns
from services.trainer.evaluating.state import ACTIVE
from services.trainer.tables import EvaluationRow

_CLAIM_KEY = 0x150_6105_8
"""Key of the lock around claims: one fixed number, of this project's choice."""

Work = Claim[EvaluationRow]
"""An evaluation that this process holds."""


def claim(database: Database, leases: LeaseQueue[EvaluationRow]) -> Work | None:
    """Take the evaluation whose turn it is; None where none waits.

    Args:
        database: Where they are.
        leases: Of this trainer.
    """
    running = turns.running_of_its_tenant(EvaluationRow)
    last = turns.last_of_its_tenant(EvaluationRow, EvaluationRow.end_time)
    now = database.now()
    with database.write() as session:
        # Two trainers at once would count the same evaluations.
        take_turns(session, _CLAIM_KEY)
        return leases.claim_in(
            session,
            EvaluationRow.state.in_(ACTIVE),
            or_(EvaluationRow.not_before.is_(None), EvaluationRow.not_before <= now),
            order_by=(running, last, EvaluationRow.create_time, EvaluationRow.id),
        )
