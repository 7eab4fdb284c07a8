"""The thread that takes evaluations from the queue and sees each through.

Only who holds the lease closes one; what an attempt wrote is under keys of its own.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from services.common import layout
from services.common.database import Database
from services.common.errors import IsoglossError, Unavailable
from services.common.leases import LeaseLost, LeaseQueue
from services.common.storage import ObjectStore
from services.trainer import datasets, launch
from services.trainer.background import until_cancelled
from services.trainer.bell import Bell
from services.trainer.evaluating import queue
from services.trainer.evaluating.queue import Work
from services.trainer.evaluating.spec import EvaluationSpec
from services.trainer.evaluating.state import State
from services.trainer.messages import Failed, Finished, decode
from services.trainer.process import Child
from services.trainer.scratch import Scratch
from services.trainer.settings import TrainerSettings
from services.trainer.tables import EvaluationRow

_TICK_SECONDS = 0.25
_GRACE_SECONDS = 2.0
_RETRY_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Stopping(Exception):
    """This trainer is shutting down."""


class Evaluator:
    """Works on queued evaluations, one at a time, from `start` to `stop`.

    Args:
        settings: The trainer's. Where it trains nothing, it evaluates nothing.
        database: Where the queue is.
        store: Where datasets and models are.
        bell: Rings when something was queued here.
        owner: Name of this process, for people.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        *,
        database: Database,
        store: ObjectStore,
        bell: Bell,
        owner: str,
    ) -> None:
        """Keep the parts."""
        self._settings = settings
        self._database = database
        self._store = store
        self._bell = bell
        self._leases = LeaseQueue(
            database, EvaluationRow, owner=owner, seconds=settings.lease_seconds
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="evaluations")

    async def serve(self) -> None:
        """Work until cancelled, then give back what is under way."""
        if self._settings.concurrent_runs == 0:
            return
        self._thread.start()
        await until_cancelled(self._end)

    def _end(self) -> None:
        self._stop.set()
        self._bell.ring()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                work = queue.claim(self._database, self._leases)
                if work is None:
                    self._bell.wait_here(self._settings.queue_poll_seconds)
                else:
                    self._see_through(work)
            except Exception:  # noqa: BLE001 (logged in full, and the thread goes on)
                # What was under way is left to its lease.
                _log.exception("evaluations could not be worked on")
                self._stop.wait(self._settings.queue_poll_seconds)

    def _see_through(self, work: Work) -> None:
        row, lease = work.row, work.lease
        try:
            if lease.attempt > self._settings.max_attempts:
                self._fail(work, "It was lost several times: its trainer died each time.")
                return
            self._leases.update(lease, {"state": State.RUNNING})
            # Again, as who queued it may have been killed before: a purge finds texts by it.
            datasets.note_use(self._store, tenant=row.tenant, dataset=row.dataset, model=row.model)
            with Scratch(self._settings.scratch, "evaluation") as scratch:
                end = self._follow(work, scratch)
            if isinstance(end, Finished):
                self._close(work, json.loads(end.manifest))
            elif end.retry and lease.attempt < self._settings.max_attempts:
                again = datetime.now(UTC) + timedelta(seconds=_RETRY_SECONDS)
                values = {"state": State.QUEUED, "not_before": again}
                self._leases.update(lease, values, release=True)
                self._remove(work)
            else:
                self._fail(work, end.message)
        except LeaseLost:
            # Deleted, or taken by another: what this attempt wrote is nobody's.
            self._remove(work)
        except Stopping:
            # Nothing was wrong with it: this was no attempt.
            values = {"state": State.QUEUED, "attempt": lease.attempt - 1}
            self._leases.update(lease, values, release=True)
            self._remove(work)
        _log.info("evaluation left", tenant=row.tenant, model=row.model, evaluation=row.id)

    def _follow(self, work: Work, scratch: Path) -> Finished | Failed:
        """Wait for the process to end, and hold the lease meanwhile."""
        child = Child(
            [sys.executable, "-m", "services.trainer.evaluating.run"],
            first_line=self._spec(work, scratch).to_json(),
            environment=launch.environment(self._settings, scratch),
        )
        renewed = time.monotonic()
        try:
            while True:
                if self._stop.is_set():
                    raise Stopping
                code = child.exit_code()
                for line in child.lines(0.0 if code is not None else _TICK_SECONDS):
                    message = decode(line)
                    if isinstance(message, Finished | Failed):
                        return message
                if code is not None:
                    why = launch.describe_exit(code, "The evaluation's process")
                    return Failed(message=why, retry=True)
                if time.monotonic() - renewed >= self._settings.heartbeat_seconds:
                    renewed = self._renew(work, renewed)
        finally:
            child.stop(_GRACE_SECONDS)

    def _renew(self, work: Work, renewed: float) -> float:
        """Hold the lease for another while; return when that was done last."""
        now = time.monotonic()
        try:
            self._leases.renew(work.lease)
        except Unavailable as error:
            # The evaluation goes on as long as the lease can still be ours.
            if now - renewed > self._settings.lease_seconds:
                raise LeaseLost from error
            _log.warning("database does not answer", error=error.message)
            return renewed
        return now

    def _close(self, work: Work, found: Mapping[str, Any]) -> None:
        row = work.row
        # After the texts were stored: a purge that begins from here on finds and removes them.
        if self._store.stat(layout.dataset_manifest(row.tenant, row.dataset)) is None:
            self._fail(work, f"datasets/{row.dataset} is gone: it was deleted.")
            return
        values = {"state": State.READY, "result": found, "end_time": datetime.now(UTC)}
        self._leases.update(work.lease, values, release=True)
        self._bell.ring()

    def _fail(self, work: Work, message: str) -> None:
        values = {"state": State.FAILED, "error": message, "end_time": datetime.now(UTC)}
        self._leases.update(work.lease, values, release=True)
        self._remove(work)
        self._bell.ring()

    def _remove(self, work: Work) -> None:
        spec = self._keys(work)
        try:
            for prefix in spec:
                for item in list(self._store.list(prefix)):
                    self._store.delete(item.key)
        except IsoglossError as error:
            # Left-over files go with the model.
            _log.warning("left-over files stay", error=error.message)

    def _keys(self, work: Work) -> tuple[str, str]:
        """Return where this attempt keeps figures, and where texts."""
        row, lease = work.row, work.lease
        attempt = f"{lease.attempt:04d}-{lease.token}/"
        return (
            layout.evaluation_prefix(row.tenant, row.model, row.id) + attempt,
            layout.evaluation_examples_prefix(row.tenant, row.model, row.id) + attempt,
        )

    def _spec(self, work: Work, scratch: Path) -> EvaluationSpec:
        row = work.row
        figures, texts = self._keys(work)
        return EvaluationSpec(
            tenant=row.tenant,
            model=row.model,
            evaluation=row.id,
            dataset=row.dataset,
            dataset_content_hash=row.dataset_content_hash,
            split=row.split,
            figures=figures,
            texts=texts,
            store_url=self._settings.store_url,
            store_options=self._settings.store_options,
            scratch=str(scratch),
            threads=launch.threads(self._settings),
            niceness=self._settings.run_niceness,
            parent=os.getpid(),
        )
