"""Validates finalised datasets one after another, under a lease that others respect.

Killed at any point, it leaves a lease that runs out; whoever claims the dataset next starts
again, or finishes what was published. Overtaken while it slept, it withdraws what it wrote.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from services.common.database import Database
from services.common.errors import DataLoss, Unavailable
from services.common.leases import Claim, LeaseLost, LeaseQueue
from services.common.storage import ObjectStore
from services.ingest import problems
from services.ingest.cancellation import Cancellation, Cancelled
from services.ingest.checks.rulebook import Rulebook
from services.ingest.checks.validation import Verdict, validate
from services.ingest.dataset import Limits, Profile, Split, State, UploadedFile
from services.ingest.endings import Endings
from services.ingest.keeping import Turns
from services.ingest.parents import ParentMissing, fetch_parent
from services.ingest.publish import AttemptFiles, publish, published
from services.ingest.record import DatasetRecord, RawFile
from services.ingest.tables import DatasetRow
from services.ingest.uploading.raw_files import raw_files
from services.ingest.uploading.uploads import Uploads
from services.ingest.workbench import DiskFailed, EngineOptions

_log = structlog.get_logger()

_PROGRESS_SECONDS = 0.5
"""How often progress is written down: a person sees no difference in less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a validator works."""

    scratch: Path
    """Directory for what lies there during one validation: about five times the upload."""

    profiles: Mapping[str, Profile]
    limits: Limits
    engine: EngineOptions
    owner: str = "ingest"
    """Who holds a lease, for people."""

    lease_seconds: float = 60.0
    """After so long without a sign of life, another validator starts again."""

    max_attempts: int = 5
    """Claims after which a dataset fails: its files seem to kill the validator."""


class Worker:
    """One validator. `run_one` blocks; `stop` is called from another thread."""

    def __init__(
        self, *, database: Database, store: ObjectStore, uploads: Uploads, options: WorkerOptions
    ) -> None:
        """Keep the parts."""
        self._database = database
        self._store = store
        self._uploads = uploads
        self._options = options
        self._queue = LeaseQueue(
            database, DatasetRow, owner=options.owner, seconds=options.lease_seconds
        )
        self._endings = Endings(
            database=database,
            store=store,
            uploads=uploads,
            queue=self._queue,
            max_attempts=options.max_attempts,
        )
        self._turns = Turns(
            self._queue,
            DatasetRow.state == State.VALIDATING,
            seconds=options.lease_seconds,
            work=self._process,
        )
        self.run_one = self._turns.run_one
        self.stop = self._turns.stop
        self.close = self._turns.close
        options.scratch.mkdir(parents=True, exist_ok=True)

    def _process(self, claim: Claim[DatasetRow]) -> None:
        record = claim.row.record()
        log = _log.bind(tenant=record.tenant, dataset=record.id, attempt=claim.lease.attempt)
        log.info("validation started")
        started = time.monotonic()
        try:
            self._attempt(claim, record, log)
        except LeaseLost:
            self._endings.withdraw(record, claim.lease.token)
            log.info("validation overtaken")
        else:
            log.info("validation ended", seconds=round(time.monotonic() - started, 1))

    def _attempt(
        self, claim: Claim[DatasetRow], record: DatasetRecord, log: structlog.stdlib.BoundLogger
    ) -> None:
        """Validate, and leave the row in a state that somebody can go on from.

        Raises:
            LeaseLost: Where the dataset is somebody else's by now, or gone.
        """
        try:
            self._validate(claim, record)
        except LeaseLost:
            raise
        except Unavailable:
            # No fault of the files: it does not count as an attempt.
            self._endings.release(claim, {"attempt": claim.lease.attempt - 1})
            raise
        except (OSError, DiskFailed) as error:
            # The scratch directory's fault: what others wait for may be smaller, so they go first.
            self._endings.release(
                claim,
                {
                    "attempt": claim.lease.attempt - 1,
                    "phase": "waiting for scratch space",
                    "update_time": datetime.now(UTC),
                },
            )
            raise Unavailable(
                f"The scratch directory {self._options.scratch} does not work ({error}): see that "
                "it can be written to and has five times an upload's size free.",
                metadata={"dependency": "scratch"},
            ) from error
        except Exception as error:
            if self._turns.cancellation.is_cancelled or isinstance(error, Cancelled):
                # Told to stop, or the lease is lost, which this finds out.
                self._endings.release(claim, {"attempt": claim.lease.attempt - 1})
                return
            log.exception("validation broke down")
            self._endings.break_down(claim)

    def _validate(self, claim: Claim[DatasetRow], record: DatasetRecord) -> None:
        found = published(self._store, record)
        if found is not None:
            # A crash came between the manifest and the database: the manifest wins.
            self._endings.finish(claim, record, found)
            return
        if claim.lease.attempt > self._options.max_attempts:
            self._endings.break_down(claim)
            return
        profile = self._options.profiles.get(record.options.profile)
        if profile is None:
            self._endings.fail(claim, [problems.profile_missing(record)], {})
            return
        self._options.scratch.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(
                dir=self._options.scratch, prefix=f"{record.id}-", ignore_cleanup_errors=True
            ) as directory,
            AttemptFiles(self._store, record, claim.lease.token) as files,
        ):
            progress = _Progress(self._queue, claim, self._turns.cancellation)
            check = self._turns.cancellation.check
            try:
                parent = fetch_parent(self._database, self._store, record, Path(directory), check)
            except ParentMissing:
                self._endings.fail(claim, [problems.parent_missing(record)], {})
                return
            verdict = validate(
                {
                    split: UploadedFile(
                        size_bytes=file.size_bytes,
                        chunks=partial(
                            self._uploads.read, record.tenant, record.id, split, file.size_bytes
                        ),
                    )
                    for split, file in record.declared.items()
                },
                rulebook=Rulebook(
                    options=record.options,
                    profile=profile,
                    limits=self._options.limits,
                    engine=self._options.engine,
                ),
                directory=Path(directory),
                parent=parent,
                progress=progress,
                outlet=files,
                cancellation=self._turns.cancellation,
            )
            _compare_sums(record, verdict)
            progress("publishing", 0.97)
            why = [problems.refused(finding) for finding in verdict.refusals]
            if parent is not None and verdict.report.multi_label and not parent.multi_label:
                why.append(problems.other_label_mode(record))
            if why:
                findings = files.stored(verdict.findings)
                self._endings.refuse(claim, record, verdict.report, findings, why)
            else:
                self._accept(claim, record, verdict, files)

    def _accept(
        self,
        claim: Claim[DatasetRow],
        record: DatasetRecord,
        verdict: Verdict,
        files: AttemptFiles,
    ) -> None:
        raw: tuple[RawFile, ...] = ()
        if record.options.keep_raw:
            check = self._turns.cancellation.check
            raw = raw_files(self._store, self._uploads, record, verdict.report.files, check)
        accepted = publish(
            self._store,
            record,
            verdict,
            raw=raw,
            files=files,
            hold=lambda: self._queue.renew(claim.lease),
        )
        self._endings.finish(claim, record, accepted)


class _Progress:
    """Writes progress down, not too often, and stops the work where it must end."""

    def __init__(
        self, queue: LeaseQueue[DatasetRow], claim: Claim[DatasetRow], cancellation: Cancellation
    ) -> None:
        self._queue = queue
        self._claim = claim
        self._cancellation = cancellation
        self._phase = ""
        self._next = 0.0

    def __call__(self, phase: str, fraction: float) -> None:
        self._cancellation.check()
        now = time.monotonic()
        if phase == self._phase and now < self._next:
            return
        self._queue.update(self._claim.lease, {"phase": phase, "fraction": fraction})
        self._phase, self._next = phase, now + _PROGRESS_SECONDS


def _compare_sums(record: DatasetRecord, verdict: Verdict) -> None:
    for file in verdict.report.files:
        declared = record.declared[Split(file.split)].sha256
        if declared and declared != file.sha256:
            raise DataLoss(f"The {file.split} file changed in the store after it was finalised.")
