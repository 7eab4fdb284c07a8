"""How many models of one tenant may wait: looked at where one is created."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.common.database import take_turns
from services.common.errors import Reason, ResourceExhausted
from services.trainer.state import State
from services.trainer.tables import ModelRow

_QUOTA_KEY = 0x150_6105_7
"""Key of the lock around counts: one fixed number, of this project's choice."""

_WAITING = (State.QUEUED, State.PAUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one tenant may have; 0 sets no limit."""

    max_queued: int = 0
    """Models in QUEUED or PAUSED."""

    def check(self, session: Session, tenant: str) -> None:
        """Make sure that one more model may wait.

        Args:
            session: The transaction that adds it.
            tenant: Whose.

        Raises:
            ResourceExhausted: Where there are as many as may be.
        """
        if not self.max_queued:
            return
        take_turns(session, _QUOTA_KEY)
        count = session.scalar(
            select(func.count())
            .select_from(ModelRow)
            .where(ModelRow.tenant == tenant, ModelRow.state.in_(_WAITING))
        )
        if (count or 0) >= self.max_queued:
            raise ResourceExhausted(
                f"{count} of your models are queued or paused, and {self.max_queued} may be "
                "(max_queued_per_tenant): wait until some are trained, or cancel some of them.",
                reason=Reason.QUOTA_EXCEEDED,
                metadata={"queued_count": str(count), "limit": str(self.max_queued)},
            )
