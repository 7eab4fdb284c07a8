"""The threads that take runs from the queue, and the one that publishes base models.

Knows when work is looked for and how it ends with the service; `attempt` knows the work.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import uuid

import structlog

from services.common.database import Database
from services.common.errors import IsoglossError
from services.common.storage import ObjectStore
from services.trainer import launch
from services.trainer.attempt import Attempt
from services.trainer.background import until_cancelled
from services.trainer.bell import Bell
from services.trainer.catalogue import Catalogue
from services.trainer.process import Child
from services.trainer.queue import Run, RunQueue
from services.trainer.scratch import sweep
from services.trainer.settings import TrainerSettings
from services.trainer.webhooks.outbox import Outbox

_GRACE_SECONDS = 2.0
_PUBLISH_RETRY_SECONDS = (5.0, 30.0, 120.0)

_log = structlog.get_logger(__name__)


class Supervisor:
    """Works on the queue from `start` to `stop`.

    Args:
        settings: The trainer's.
        database: Where the queue is.
        store: Where datasets, bases and models are.
        catalogue: The base models.
        bell: Rings when a run was queued here.
        outbox: Takes the news of models that have ended.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        *,
        database: Database,
        store: ObjectStore,
        catalogue: Catalogue,
        bell: Bell,
        outbox: Outbox,
    ) -> None:
        """Keep the parts."""
        self._settings = settings
        self._store = store
        self._catalogue = catalogue
        self._bell = bell
        self._queue = RunQueue(
            database,
            bell,
            owner=owner(),
            lease_seconds=settings.lease_seconds,
            outbox=outbox,
            retry_seconds=settings.retry_seconds,
            max_runs_per_tenant=settings.max_runs_per_tenant,
        )
        self._stop = threading.Event()
        # Bases that the thread below may still publish: a run waits for it, as doing the same
        # beside it would take both twice as long.
        self._coming = set(catalogue.sources) if settings.publish_bases else set()
        self._threads: list[threading.Thread] = []

    async def serve(self) -> None:
        """Work until cancelled, then give the runs back and end their processes."""
        self.start()
        await until_cancelled(self.stop)

    def start(self) -> None:
        """Start the threads."""
        sweep(self._settings.scratch)
        self._threads = [
            threading.Thread(target=self._work, args=(device,), name=f"run-{number}")
            for number, device in enumerate(launch.places_to_learn(self._settings))
        ]
        if self._settings.publish_bases:
            self._threads.append(threading.Thread(target=self._publish_bases, name="bases"))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Give the runs back, end their processes, and wait for the threads."""
        self._stop.set()
        self._bell.ring()
        for thread in self._threads:
            thread.join()

    def _work(self, device: str) -> None:
        while not self._stop.is_set():
            try:
                run = self._queue.claim()
                if run is None:
                    self._bell.wait_here(self._settings.queue_poll_seconds)
                else:
                    self._carry_out(run, device)
            except IsoglossError as error:
                _log.warning("the queue does not answer", error=error.message)
                self._stop.wait(self._settings.queue_poll_seconds)
            except Exception:  # noqa: BLE001 (logged in full, and the thread goes on)
                # Nobody would notice that this thread is gone, and its runs would wait for ever.
                _log.exception("the queue could not be worked on")
                self._stop.wait(self._settings.queue_poll_seconds)

    def _carry_out(self, run: Run, device: str) -> None:
        attempt = Attempt(
            run,
            queue=self._queue,
            store=self._store,
            settings=self._settings,
            device=device,
            sources=self._catalogue.sources,
            is_coming=self._coming.__contains__,
            stop=self._stop,
        )
        try:
            attempt.carry_out()
        except IsoglossError as error:
            # The lease runs out and somebody tries again.
            _log.warning("run left to its lease", model=run.row.name, error=error.message)

    def _publish_bases(self) -> None:
        try:
            for wait in (0.0, *_PUBLISH_RETRY_SECONDS):
                if self._stop.wait(wait) or self._publish_missing():
                    return
        finally:
            self._coming.clear()

    def _publish_missing(self) -> bool:
        """Try every base once; return whether none is missing any more."""
        try:
            missing = self._catalogue.missing()
        except IsoglossError as error:
            _log.warning("base models could not be listed", error=error.message)
            return False
        self._coming.intersection_update(missing)
        # Every one gets its try before any gets a second.
        done = [self._publish_base(base, source) for base, source in missing.items()]
        return all(done)

    def _publish_base(self, base: str, source: str) -> bool:
        child = Child(
            [sys.executable, "-m", "services.trainer.publish_base", base, source],
            first_line="",
            environment={**os.environ, **self._settings_as_environment()},
        )
        try:
            while (code := child.exit_code()) is None:
                if self._stop.wait(0.1):
                    return True
            if code == 0:
                _log.info("base model published", base=base)
            else:
                reason = (child.stderr() or ["no reason given"])[-1]
                _log.error("base model not published", base=base, source=source, reason=reason)
            return code == 0
        finally:
            self._coming.discard(base)
            child.stop(_GRACE_SECONDS)

    def _settings_as_environment(self) -> dict[str, str]:
        options = self._settings.store_options
        values = {
            "STORE": self._settings.store_url,
            "STORE_ACCESS_KEY": options.access_key,
            "STORE_SECRET_KEY": options.secret_key,
            "STORE_REGION": options.region,
            "SCRATCH_DIRECTORY": str(self._settings.scratch),
            "RUN_NICENESS": str(self._settings.run_niceness),
        }
        return {f"ISOGLOSS_TRAINER_{name}": value for name, value in values.items() if value}


def owner() -> str:
    """Return a name of this process that no other has."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
