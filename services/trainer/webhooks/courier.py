"""Sends what the outbox holds, at least once, until it is taken or given up.

Several at the same time, so that a slow receiver keeps nobody waiting but itself. Knows nothing of
runs, and none waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import structlog
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import aliased

from services.common.database import Database, Now, take_turns
from services.common.errors import IsoglossError
from services.common.leases import Claim, LeaseLost, LeaseQueue
from services.trainer import events
from services.trainer.background import until_cancelled
from services.trainer.messages import Logged
from services.trainer.tables import DeliveryRow, ModelRow
from services.trainer.webhooks.posting import HttpsPost, Post
from services.trainer.webhooks.signing import headers

_LEASE_SECONDS = 60.0
# A try takes 16 s at most, and what the machine takes to find a host; after a minute its courier
# is dead.

_PLACES = 4
_PLACES_OF_A_TENANT = _PLACES - 1
_CLAIM_KEY = 0x150_6105_7
"""Key of the lock around claims: one fixed number, of this project's choice."""

_PAUSES = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 60, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 24 * 3600)
)
_MOST_TRIES = len(_PAUSES) + 1
# Nine tries in two days: a receiver may be down over a night and a morning.

_GONE = 410
_FORBIDDEN = "the operator no longer has messages sent there (webhook_hosts, webhook_urls)"
_TAKEN = range(200, 300)

_log = structlog.get_logger(__name__)


class Courier:
    """Sends messages from `start` to `stop`.

    Args:
        database: Where they are; couriers that share it share the work.
        owner: Name of this process, for people.
        key: What they are signed with.
        poll_seconds: How often an idle courier looks for messages.
        takes: Tells whether the operator still has messages sent to an address.
        post: How they are sent.
        clock: Now, in UTC.
    """

    def __init__(
        self,
        database: Database,
        *,
        owner: str,
        key: bytes,
        poll_seconds: float,
        takes: Callable[[str], bool],
        post: Post | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts."""
        self._database = database
        self._key = key
        self._poll_seconds = poll_seconds
        self._takes = takes
        self._post = post or HttpsPost()
        self._clock = clock
        self._leases = LeaseQueue(database, DeliveryRow, owner=owner, seconds=_LEASE_SECONDS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks")
        self._senders = ThreadPoolExecutor(_PLACES, thread_name_prefix="webhook")
        self._places = threading.Semaphore(_PLACES)

    async def serve(self) -> None:
        """Send until cancelled."""
        self.start()
        await until_cancelled(self.stop)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it after the messages that it is sending."""
        self._stop.set()
        self._thread.join()
        self._senders.shutdown()

    def send_next(self) -> bool:
        """Send one message that is due; return whether there was one.

        Raises:
            Unavailable: Where the database does not answer.
        """
        claim = self._claim()
        if claim is None:
            return False
        self._deliver(claim)
        return True

    def _work(self) -> None:
        while not self._stop.is_set():
            self._places.acquire()
            claim = self._claimed()
            if claim is None:
                self._places.release()
                self._stop.wait(self._poll_seconds)
            else:
                self._senders.submit(self._deliver_and_leave, claim)

    def _claimed(self) -> Claim[DeliveryRow] | None:
        try:
            return self._claim()
        except IsoglossError as error:
            _log.warning("webhooks wait for the database", error=error.message)
        except Exception:  # noqa: BLE001 (logged in full, and the thread goes on)
            _log.exception("webhooks could not be looked for")
        return None

    def _deliver_and_leave(self, claim: Claim[DeliveryRow]) -> None:
        try:
            self._deliver(claim)
        except Exception:  # noqa: BLE001 (logged in full; the message is left to its lease)
            _log.exception("a webhook could not be settled", id=claim.row.id)
        finally:
            self._places.release()

    def _claim(self) -> Claim[DeliveryRow] | None:
        """Take the message whose turn it is, of those that are due."""
        now = self._database.now()
        under_way = aliased(DeliveryRow)
        held = select(func.count()).select_from(under_way).where(under_way.lease_until > Now())
        of_its_tenant, to_its_place = (
            held.where(same).correlate(DeliveryRow).scalar_subquery()
            for same in (under_way.tenant == DeliveryRow.tenant, under_way.uri == DeliveryRow.uri)
        )
        with self._database.write() as session:
            # Two couriers at once would count the same messages.
            take_turns(session, _CLAIM_KEY)
            return self._leases.claim_in(
                session,
                or_(DeliveryRow.not_before.is_(None), DeliveryRow.not_before <= now),
                # A slow receiver takes one place, and slow ones of one tenant not the last.
                to_its_place == 0,
                of_its_tenant < _PLACES_OF_A_TENANT,
                # One that was never tried does not wait for the time-outs of those that failed.
                order_by=(DeliveryRow.attempt, of_its_tenant, DeliveryRow.create_time),
            )

    def _deliver(self, claim: Claim[DeliveryRow]) -> None:
        try:
            self._settle(claim, self._send(claim))
        except LeaseLost:
            _log.info("webhook sent twice", id=claim.row.id)

    def _send(self, claim: Claim[DeliveryRow]) -> int | str:
        """Return the status of the answer, or why there was none."""
        row = claim.row
        if claim.lease.attempt > _MOST_TRIES:
            return "its trainer died each time"
        if not self._takes(row.uri):
            return _FORBIDDEN
        body = row.body.encode()
        signed = headers(self._key, message=row.id, seconds=int(time.time()), body=body)
        fields = {**signed, "content-type": "application/json", "user-agent": "isogloss"}
        try:
            return self._post(row.uri, body=body, headers=fields)
        except OSError as error:
            return str(error) or type(error).__name__
        except Exception as error:  # noqa: BLE001 (logged in full)
            # A fault of ours, or an address that no check foresaw: it is a failed try as well.
            _log.exception("webhook could not be sent", id=row.id)
            return type(error).__name__

    def _settle(self, claim: Claim[DeliveryRow], outcome: int | str) -> None:
        row, tries = claim.row, claim.lease.attempt
        host = urlsplit(row.uri).netloc
        log = _log.bind(id=row.id, model=row.model, host=host, tries=tries, outcome=outcome)
        if outcome in _TAKEN:
            log.info("webhook delivered")
            self._close(claim, None)
        elif outcome in (_GONE, _FORBIDDEN) or tries >= _MOST_TRIES:
            log.warning("webhook given up")
            self._close(
                claim, f"The webhook to {host} was given up after {tries} tries: {outcome}."
            )
        else:
            log.info("webhook is tried again")
            wait = self._clock() + _PAUSES[tries - 1]
            self._leases.update(claim.lease, {"not_before": wait}, release=True)

    def _close(self, claim: Claim[DeliveryRow], failure: str | None) -> None:
        row = claim.row
        with self._database.write() as session:
            self._leases.fence(session, claim.lease)
            session.execute(delete(DeliveryRow).where(DeliveryRow.id == row.id))
            model = session.get(ModelRow, (row.tenant, row.model), with_for_update=True)
            if failure is not None and model is not None:
                told = Logged(level="warning", message=failure)
                events.append(session, model, told, now=self._clock())
