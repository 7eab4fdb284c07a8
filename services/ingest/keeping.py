"""Keeps a lease while its work lasts, and ends the work where the lease is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import structlog

from services.common.errors import Unavailable
from services.common.leases import Lease, LeaseLost, LeaseQueue
from services.ingest.cancellation import Cancellation
from services.ingest.tables import DatasetRow

_log = structlog.get_logger()


@contextmanager
def kept(
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
