"""Runs that wait for a trainer, and what the trainer that holds one may write.

Every write is guarded by the lease's token: who was overtaken changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import or_, true
from sqlalchemy.orm import Session

from services.common.database import Database, take_turns
from services.common.leases import Claim, LeaseLost, LeaseQueue
from services.trainer import events, turns
from services.trainer.bell import Bell
from services.trainer.messages import Entered, Logged, Planned, Progressed, Report
from services.trainer.state import ACTIVE, State
from services.trainer.tables import ModelRow
from services.trainer.webhooks.outbox import Outbox

Run = Claim[ModelRow]
"""A model whose training this process holds."""

_RETRY_GROWTH = 4.0
# 5 s, then 20 s: long enough for a store to come back, short beside any run.
_CLAIM_KEY = 0x150_6105_6
"""Key of the lock around claims: one fixed number, of this project's choice."""

_NOTHING_DONE = Progressed(
    step=0, total_steps=0, epoch=0.0, total_epochs=0.0, fraction=0.0, eta_seconds=None
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a manifest says of a READY model."""

    variants: list[dict[str, Any]]
    dimension: int
    max_tokens: int
    hyperparameters: Mapping[str, Any]


class RunQueue:
    """The queue as one trainer sees it.

    Args:
        database: Where the rows are; trainers that share it share the queue.
        bell: Rung after each change.
        owner: Name of this trainer, for people.
        lease_seconds: How long a run is held without a sign of life.
        outbox: Takes the news of a model that has ended.
        retry_seconds: How long a run waits that was lost for the first time.
        max_runs_per_tenant: Runs of one tenant at the same time; 0 sets no limit.
        clock: Now, in UTC, for timestamps; leases go by the database's clock.
    """

    def __init__(
        self,
        database: Database,
        bell: Bell,
        *,
        owner: str,
        lease_seconds: float,
        outbox: Outbox,
        retry_seconds: float = 5.0,
        max_runs_per_tenant: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts."""
        self._database = database
        self._bell = bell
        self._outbox = outbox
        self._retry_seconds = retry_seconds
        self._max_runs_per_tenant = max_runs_per_tenant
        self._clock = clock
        self._leases = LeaseQueue(database, ModelRow, owner=owner, seconds=lease_seconds)

    def claim(self) -> Run | None:
        """Take the run whose turn it is, of those that wait or whose trainer is gone.

        Returns:
            The run, or None where there is none to take.
        """
        running = turns.running_of_its_tenant(ModelRow)
        last = turns.last_of_its_tenant(ModelRow, ModelRow.start_time)
        limit = self._max_runs_per_tenant
        with self._database.write() as session:
            # Two trainers at once would count the same runs, and both give the same tenant its
            # turn.
            take_turns(session, _CLAIM_KEY)
            return self._leases.claim_in(
                session,
                ModelRow.state.in_(ACTIVE),
                or_(ModelRow.not_before.is_(None), ModelRow.not_before <= self._database.now()),
                running < limit if limit else true(),
                order_by=(running, last, ModelRow.queue_time, ModelRow.id),
            )

    def renew(self, run: Run) -> None:
        """Hold the run for another while.

        Raises:
            LeaseLost: Where it was cancelled, deleted or overtaken.
        """
        self._leases.renew(run.lease)

    def look(self, run: Run) -> ModelRow:
        """Return the model as it is now, without writing.

        Raises:
            LeaseLost: As `renew`.
        """
        row = self.row(run)
        if row is None or row.token != run.lease.token:
            raise LeaseLost
        return row

    def row(self, run: Run) -> ModelRow | None:
        """Return the model as it is now; None where it was deleted."""
        with self._database.read() as session:
            return session.get(ModelRow, (run.row.tenant, run.row.id))

    def begin(self, run: Run, reason: str) -> None:
        """Note that the training begins.

        Raises:
            LeaseLost: As `renew`.
        """
        now = self._clock()
        with self._fenced(run) as (session, row):
            row.start_time = now
            row.not_before = None
            # What an attempt before has done may be gone on from: this one says soon.
            row.progress = row.progress or asdict(_NOTHING_DONE)
            entered = Entered(state=State.TRAINING, reason=reason)
            events.append(session, row, entered, now=now)

    def record(self, run: Run, reports: Iterable[Report]) -> None:
        """Note what the run tells.

        Raises:
            LeaseLost: As `renew`.
        """
        now = self._clock()
        with self._fenced(run) as (session, row):
            for report in reports:
                if isinstance(report, Planned):
                    row.hyperparameters = report.hyperparameters
                elif isinstance(report, Progressed):
                    row.progress = asdict(report)
                    row.revision += 1
                    row.update_time = now
                else:
                    events.append(session, row, report, now=now)
                if isinstance(report, Entered) and report.state is State.EXPORTING:
                    # It has learnt: there is nothing left that could be paused.
                    row.pause_requested = False

    def close_ready(self, run: Run, published: Published) -> None:
        """Note that the model is READY and give the run away.

        Raises:
            LeaseLost: As `renew`.
        """
        with self._fenced(run, release=True) as (session, row):
            row.variants = published.variants
            row.dimension = published.dimension
            row.max_tokens = published.max_tokens
            row.hyperparameters = dict(published.hyperparameters)
            row.error = None
            if row.progress is not None:
                row.progress = {**row.progress, "fraction": 1.0, "eta_seconds": 0.0}
            now = self._clock()
            events.append(session, row, Entered(state=State.READY, reason="Published."), now=now)
            self._outbox.note(session, row, now)

    def close_failed(self, run: Run, message: str) -> None:
        """Note that the run failed for good and give it away.

        Raises:
            LeaseLost: As `renew`.
        """
        with self._fenced(run, release=True) as (session, row):
            row.error = message
            now = self._clock()
            events.append(session, row, Entered(state=State.FAILED, reason=message), now=now)
            self._outbox.note(session, row, now)

    def give_back(self, run: Run, reason: str, *, refund: bool = False) -> None:
        """Put the run back into the queue, or pause it where somebody asked for that meanwhile.

        Args:
            run: Which.
            reason: Why, for people.
            refund: Nothing was wrong with it: this was no attempt, and anybody may go on at
                once. Otherwise it waits a while, longer after each attempt.

        Raises:
            LeaseLost: As `renew`.
        """
        now = self._clock()
        wait = self._retry_seconds * _RETRY_GROWTH ** (run.lease.attempt - 1)
        with self._fenced(run, release=True) as (session, row):
            row.not_before = None if refund else now + timedelta(seconds=wait)
            if row.pause_requested:
                events.append(session, row, Logged(level="warning", message=reason), now=now)
                _pause(session, row, now)
            else:
                events.append(session, row, Entered(state=State.QUEUED, reason=reason), now=now)
            if refund:
                row.attempt -= 1

    def pause(self, run: Run) -> None:
        """Leave the run to whoever resumes it, or has just done so; this was no attempt.

        Raises:
            LeaseLost: As `renew`.
        """
        now = self._clock()
        with self._fenced(run, release=True) as (session, row):
            if row.pause_requested:
                _pause(session, row, now)
            else:
                # The caller was told that it goes on, after its trainer had last looked.
                taken_back = Entered(state=State.QUEUED, reason="Resumed before it had paused.")
                events.append(session, row, taken_back, now=now)
            row.attempt -= 1

    @contextmanager
    def _fenced(
        self, run: Run, *, release: bool = False
    ) -> Generator[tuple[Session, ModelRow], None, None]:
        with self._database.write() as session:
            self._leases.fence(session, run.lease)
            row = session.get(ModelRow, (run.row.tenant, run.row.id), populate_existing=True)
            if row is None:
                raise LeaseLost
            yield session, row
            if release:
                row.owner = row.lease_until = None
        self._bell.ring()


def _pause(session: Session, row: ModelRow, now: datetime) -> None:
    row.pause_requested = False
    paused = Entered(state=State.PAUSED, reason="Paused by a caller.")
    events.append(session, row, paused, now=now)
