"""Sends what the outbox holds, at least once, until it is taken or given up.

Knows nothing of runs, and none waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

import structlog
import urllib3
from sqlalchemy import delete, or_

from services.common.database import Database
from services.common.errors import IsoglossError
from services.common.leases import Claim, LeaseLost, LeaseQueue
from services.trainer import events
from services.trainer.background import until_cancelled
from services.trainer.messages import Logged
from services.trainer.tables import DeliveryRow, ModelRow
from services.trainer.webhooks.signing import headers

_LEASE_SECONDS = 60.0
# A try takes 15 s at most; after a minute its courier is dead.

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 10.0

_PAUSES = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 60, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 24 * 3600)
)
# Nine tries in two days: a receiver may be down over a night and a morning.

_GONE = 410
_TAKEN = range(200, 300)

_log = structlog.get_logger(__name__)


class Post(Protocol):
    """Posts a message and returns the status of the answer."""

    def __call__(self, uri: str, *, body: bytes, headers: dict[str, str]) -> int:
        """Post it.

        Raises:
            OSError: Where there is no answer.
        """
        ...


class Courier:
    """Sends messages from `start` to `stop`.

    Args:
        database: Where they are; couriers that share it share the work.
        owner: Name of this process, for people.
        key: What they are signed with.
        poll_seconds: How often an idle courier looks for messages.
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
        post: Post | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts."""
        self._database = database
        self._key = key
        self._poll_seconds = poll_seconds
        self._post = post or HttpsPost()
        self._clock = clock
        self._leases = LeaseQueue(database, DeliveryRow, owner=owner, seconds=_LEASE_SECONDS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks")

    async def serve(self) -> None:
        """Send until cancelled."""
        self.start()
        await until_cancelled(self.stop)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it after the message that it is sending."""
        self._stop.set()
        self._thread.join()

    def send_next(self) -> bool:
        """Send one message that is due; return whether there was one.

        Raises:
            Unavailable: Where the database does not answer.
        """
        claim = self._leases.claim(
            or_(DeliveryRow.not_before.is_(None), DeliveryRow.not_before <= self._database.now()),
            # One that was never tried does not wait for the time-outs of those that failed.
            order_by=(DeliveryRow.attempt, DeliveryRow.create_time),
        )
        if claim is None:
            return False
        outcome = self._send(claim.row)
        try:
            self._settle(claim, outcome)
        except LeaseLost:
            _log.info("webhook sent twice", id=claim.row.id)
        return True

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                if not self.send_next():
                    self._stop.wait(self._poll_seconds)
            except IsoglossError as error:
                _log.warning("webhooks wait for the database", error=error.message)
                self._stop.wait(self._poll_seconds)
            except Exception:  # noqa: BLE001 (logged in full, and the thread goes on)
                _log.exception("webhooks could not be sent")
                self._stop.wait(self._poll_seconds)

    def _send(self, row: DeliveryRow) -> int | str:
        """Return the status of the answer, or why there was none."""
        body = row.body.encode()
        signed = headers(self._key, message=row.id, seconds=int(time.time()), body=body)
        fields = {**signed, "content-type": "application/json", "user-agent": "isogloss"}
        try:
            return self._post(row.uri, body=body, headers=fields)
        except OSError as error:
            return str(error) or type(error).__name__

    def _settle(self, claim: Claim[DeliveryRow], outcome: int | str) -> None:
        row, tries = claim.row, claim.lease.attempt
        host = urlsplit(row.uri).netloc
        log = _log.bind(id=row.id, model=row.model, host=host, tries=tries, outcome=outcome)
        if outcome in _TAKEN:
            log.info("webhook delivered")
            self._close(claim, None)
        elif outcome == _GONE or tries > len(_PAUSES):
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


class HttpsPost:
    """Posts over HTTPS, certificates verified; follows no redirect and reads no body."""

    def __init__(self) -> None:
        """Keep few connections: messages are rare."""
        self._pool = urllib3.PoolManager(
            num_pools=8,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_ANSWER_SECONDS),
            retries=False,
        )

    def __call__(self, uri: str, *, body: bytes, headers: dict[str, str]) -> int:
        """Post it."""
        try:
            answer = self._pool.request(
                "POST", uri, body=body, headers=headers, redirect=False, preload_content=False
            )
        except urllib3.exceptions.HTTPError as error:
            # Its text holds the address of a connection object: the cause says more.
            raise OSError(str(error.__cause__ or type(error).__name__)) from error
        answer.close()
        return answer.status
