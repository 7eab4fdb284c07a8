"""Takes leased work, one dataset at a time, and keeps its lease while it lasts.

Ends it where the lease is lost or the process stops; knows nothing of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread

import sqlalchemy as sa
import structlog

from services.common.errors import Unavailable
from services.common.leases import Claim, Lease, LeaseLost, LeaseQueue
from services.ingest.cancellation import Cancellation
from services.ingest.tables import DatasetRow

_log = structlog.get_logger()


class Turns:
    """Datasets that wait for one kind of work. `stop` is called from another thread."""

    def __init__(
        self,
        queue: LeaseQueue[DatasetRow],
        *waiting: sa.ColumnElement[bool],
        seconds: float,
        work: Callable[[Claim[DatasetRow]], None],
    ) -> None:
        """Begin with nothing to do.

        Args:
            queue: Where the leases are from.
            waiting: What is true of the rows that wait for this work.
            seconds: How long a lease holds without a renewal.
            work: Does it for one row; ends early where `cancellation` says so.
        """
        self._queue = queue
        self._waiting = waiting
        self._seconds = seconds
        self._work = work
        self._stopping = False
        self._busy = Lock()
        self.cancellation = Cancellation()
        """Of the work in progress."""

    def stop(self) -> None:
        """Give up what is being done, so that another can go on with it at once."""
        self._stopping = True
        self.cancellation.cancel()

    def close(self) -> None:
        """Stop, and wait until nothing is being done any more."""
        self.stop()
        with self._busy:
            pass

    def run_one(self) -> bool:
        """Do the work for the dataset that waits for longest; tell whether there was one.

        Raises:
            Unavailable: Where the database or a store does not answer; nothing is lost.
        """
        with self._busy:
            return not self._stopping and self._run_one()

    def _run_one(self) -> bool:
        claim = self._queue.claim(
            *self._waiting, DatasetRow.deleting.is_(False), order_by=DatasetRow.update_time
        )
        if claim is None:
            return False
        self.cancellation = Cancellation()
        if self._stopping:
            self.cancellation.cancel()
        with _kept(self._queue, claim.lease, self.cancellation, seconds=self._seconds):
            self._work(claim)
        return True


@contextmanager
def _kept(
    queue: LeaseQueue[DatasetRow], lease: Lease, cancellation: Cancellation, *, seconds: float
) -> Iterator[None]:
    """Renew a lease in a thread while the block runs.

    Args:
        queue: Where the lease is from.
        lease: Which.
        cancellation: Cancelled where the lease is lost, and when the block ends.
        seconds: How long the lease holds without a renewal.
    """
    alive = Thread(target=_renew, args=(queue, lease, cancellation, seconds / 4), daemon=True)
    alive.start()
    try:
        yield
    finally:
        cancellation.cancel()
        alive.join()


def _renew(
    queue: LeaseQueue[DatasetRow], lease: Lease, cancellation: Cancellation, pause: float
) -> None:
    while not cancellation.wait(pause):
        try:
            queue.renew(lease)
        except LeaseLost:
            cancellation.cancel()
        except Unavailable:
            _log.warning("lease not renewed", dataset=lease.key)
        except Exception:  # noqa: BLE001  # logged; the work goes on as long as the lease does
            _log.exception("lease not renewed", dataset=lease.key)
