"""One attempt at one run, from the claim to the manifest, seen from the supervisor.

The rule that everything here serves: only who holds the lease changes what others see.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping

import structlog

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from services.common.errors import IsoglossError, Unavailable
from services.common.leases import LeaseLost
from services.common.storage import ObjectStore
from services.trainer import launch, publishing
from services.trainer.messages import (
    End,
    Failed,
    Finished,
    Halted,
    Logged,
    Progressed,
    Report,
    decode,
)
from services.trainer.process import Child
from services.trainer.queue import Run, RunQueue
from services.trainer.scratch import Scratch
from services.trainer.settings import TrainerSettings
from services.trainer.spec import HALT
from services.trainer.state import State

_TICK_SECONDS = 0.25
# How often what a run tells is written, and how long a cancel can go unseen: a transaction
# takes about a millisecond, so even SQLite hardly feels it.

_GRACE_SECONDS = 10.0
# A run stops within one step, a second or two; ten is for a machine that swaps.

_PAUSE_SECONDS = 120.0
_HANDOVER_SECONDS = 10.0
# What a run that is asked to stop has for its step and its checkpoint. 100 MB a second take the
# 1.2 GB of a large base's checkpoint in 12 s; a trainer that shuts down is not waited for so
# long, and the checkpoint before is a minute old at most.

_PUBLISH_RETRY_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class Stopping(Exception):
    """This trainer is shutting down."""


class Attempt:
    """One attempt.

    Args:
        run: What was claimed.
        queue: Where it was claimed.
        store: Where datasets, bases and models are.
        settings: The trainer's.
        device: Where it computes: `auto`, `cpu`, `cuda` or `cuda:N`.
        sources: Where configured bases come from, by id.
        is_coming: Whether this trainer is about to publish a base anyway.
        stop: Set when this trainer shuts down.
    """

    def __init__(
        self,
        run: Run,
        *,
        queue: RunQueue,
        store: ObjectStore,
        settings: TrainerSettings,
        device: str,
        sources: Mapping[str, str],
        is_coming: Callable[[str], bool],
        stop: threading.Event,
    ) -> None:
        """Keep the parts."""
        self._run = run
        self._row = run.row
        self._queue = queue
        self._store = store
        self._settings = settings
        self._device = device
        self._sources = sources
        self._is_coming = is_coming
        self._stop = stop
        self._renewed = time.monotonic()
        self._pause = run.row.pause_requested
        self._unwritten: list[Report] = []
        self._log = _log.bind(tenant=run.row.tenant, model=run.row.name, attempt=run.lease.attempt)

    def carry_out(self) -> None:
        """Train, publish and close the run; leave no process and no scratch behind."""
        try:
            manifest = self._published()
            if manifest is None and self._run.lease.attempt > self._settings.max_attempts:
                self._end(self._given_up(), retry=False)
            elif manifest is None and self._pause:
                # Whoever was asked to pause it died before.
                self._give_up_place()
            elif manifest is None:
                self._train()
            else:
                # Whoever published it did not come to close the run.
                self._close(manifest)
        except LeaseLost:
            self._log.info("run lost")
            self._retreat()
        except Stopping:
            self._log.info("run given back")
            self._leave("The trainer is shutting down; another one goes on.", refund=True)
        except Exception as error:  # noqa: BLE001 (logged in full, and the run ends as lost)
            # Whatever it is, this thread goes on with other runs, and this one gets its tries.
            self._log.exception("attempt broke off")
            self._end(_public_message(error), retry=True)

    def _train(self) -> None:
        attempt = f"Attempt {self._run.lease.attempt} of {self._settings.max_attempts}"
        self._queue.begin(self._run, f"{attempt} begins.")
        # After a write that needs the lease: should the model be deleted between the two, the
        # next look at the lease takes this back.
        publishing.announce(self._store, self._row)
        self._log.info("run began")
        while self._is_coming(self._row.base_model):
            if self._stop.wait(_TICK_SECONDS):
                raise Stopping
            self._note([])
            if self._pause:
                self._give_up_place()
                return
        with Scratch(self._settings.scratch, "run") as scratch:
            child = Child(
                [sys.executable, "-m", "services.trainer.run"],
                first_line=launch.spec(
                    self._run,
                    self._settings,
                    device=self._device,
                    sources=self._sources,
                    scratch=scratch,
                ).to_json(),
                environment=launch.environment(self._settings, scratch),
            )
            try:
                end = self._follow(child)
            finally:
                child.stop(_GRACE_SECONDS)
        self._conclude(end, child)

    def _follow(self, child: Child) -> End | None:
        """Write down what the run tells until it ends; None where it ended without a word."""
        asked = math.inf
        while time.monotonic() - asked < self._patience():
            code = child.exit_code()
            end = self._note(child.lines(0.0 if code is not None else _TICK_SECONDS))
            if end is not None or code is not None:
                return end
            if not self._pause and not self._stop.is_set():
                asked = math.inf
            elif asked == math.inf:
                child.tell(HALT)
                asked = time.monotonic()
        # It does not react; its last checkpoint is what it leaves.
        return Halted()

    def _patience(self) -> float:
        """Return the seconds that a run has to stop, once it is asked to."""
        return _HANDOVER_SECONDS if self._stop.is_set() else _PAUSE_SECONDS

    def _note(self, lines: list[str]) -> End | None:
        end = None
        for line in lines:
            message = decode(line)
            if isinstance(message, Finished | Failed | Halted):
                end = message
            else:
                self._unwritten.append(message)
        try:
            self._keep()
        except Unavailable as error:
            # The run goes on as long as the lease can still be ours.
            if time.monotonic() - self._renewed > self._settings.lease_seconds:
                raise LeaseLost from error
            self._log.warning("database does not answer", error=error.message)
        return end

    def _keep(self) -> None:
        if self._unwritten:
            self._queue.record(self._run, _newest_progress(self._unwritten))
            self._unwritten = []
        if time.monotonic() - self._renewed >= self._settings.heartbeat_seconds:
            self._queue.renew(self._run)
            self._renewed = time.monotonic()
        self._pause = self._queue.look(self._run).pause_requested

    def _conclude(self, end: End | None, child: Child) -> None:
        if isinstance(end, Finished):
            self._publish(end)
            return
        if isinstance(end, Halted):
            self._give_up_place()
            return
        if isinstance(end, Failed):
            message, retry = end.message, end.retry
        else:
            message, retry = launch.describe_exit(child.exit_code()), True
            self._queue.record(
                self._run, [Logged(level="error", message=line) for line in child.stderr()]
            )
        self._log.warning("run failed", reason=message, retry=retry)
        self._end(message, retry=retry)

    def _give_up_place(self) -> None:
        """Leave a run that was halted, or need not begin: for who asked for it, or anybody."""
        if self._pause:
            self._queue.pause(self._run)
            self._clean()
        elif self._stop.is_set():
            raise Stopping
        else:
            self._leave("Resumed before it had paused.", refund=True)

    def _end(self, message: str, *, retry: bool) -> None:
        if retry and self._run.lease.attempt < self._settings.max_attempts:
            self._leave(f"Attempt {self._run.lease.attempt} was lost: {message}")
            return
        try:
            self._queue.close_failed(self._run, message)
        except LeaseLost:
            self._retreat()
        else:
            publishing.withdraw(self._store, self._row)

    def _publish(self, end: Finished) -> None:
        lease = self._run.lease
        manifest = publishing.parse(
            end.manifest, row=self._row, attempt=lease.attempt, token=lease.token
        )
        while True:
            try:
                # The last look at the lease before the one write that others see. Should this
                # process be frozen between the two and overtaken, nothing is harmed: the
                # manifest is created once, and it names this attempt's own files.
                self._keep()
                self._queue.renew(self._run)
                self._close(publishing.publish(self._store, self._row, manifest))
            except Unavailable as error:
                self._log.warning("publishing is tried again", error=error.message)
                if self._stop.wait(_PUBLISH_RETRY_SECONDS):
                    raise Stopping from error
            else:
                return

    def _close(self, manifest: ModelManifest) -> None:
        self._queue.close_ready(self._run, publishing.facts(manifest))
        self._log.info("model ready", published_by_attempt=manifest.attempt)
        try:
            publishing.tidy(self._store, self._row, manifest)
        except IsoglossError as error:
            # Left-over files cost space and nothing else.
            self._log.warning("left-over files stay", error=error.message)

    def _published(self) -> ModelManifest | None:
        return publishing.find(self._store, self._row.tenant, self._row.id)

    def _retreat(self) -> None:
        """Undo what a run that is no longer ours may have left."""
        now = self._queue.row(self._run)
        if now is None:
            publishing.remove(self._store, self._row)
        elif now.phase in (State.CANCELLED, State.FAILED):
            publishing.withdraw(self._store, self._row)
        elif (manifest := self._published()) is not None:
            # Its own files, and a checkpoint that it may have left after the winner tidied up.
            publishing.tidy(self._store, self._row, manifest)
        else:
            self._clean()

    def _leave(self, reason: str, *, refund: bool = False) -> None:
        try:
            self._queue.give_back(self._run, reason, refund=refund)
        except LeaseLost:
            self._retreat()
        else:
            self._clean()

    def _clean(self) -> None:
        """Remove this attempt's files unless they are what is published."""
        manifest = self._published()
        lease = self._run.lease
        if manifest is None or manifest.token != lease.token:
            publishing.remove_attempt(
                self._store, self._row, attempt=lease.attempt, token=lease.token
            )

    def _given_up(self) -> str:
        return (
            f"The run was lost {self._settings.max_attempts} times: its trainer died each time. "
            "The trainer's log tells why; create the model again when that is mended."
        )


def _newest_progress(reports: list[Report]) -> list[Report]:
    """Return the reports with no progress but the last one."""
    progress = [report for report in reports if isinstance(report, Progressed)]
    return [
        report for report in reports if not isinstance(report, Progressed) or report is progress[-1]
    ]


def _public_message(error: Exception) -> str:
    if isinstance(error, IsoglossError):
        return error.message
    return "A fault of the trainer; its log has the details under the model's name."
