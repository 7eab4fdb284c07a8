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
from typing import Any

import structlog

from services.common import layout
from services.common.database import Database
from services.common.errors import DataLoss, Unavailable
from services.common.leases import Claim, LeaseLost, LeaseQueue
from services.common.storage import ObjectStore
from services.ingest.cancellation import Cancellation, Cancelled
from services.ingest.checks.rulebook import Rulebook
from services.ingest.checks.validation import Verdict, validate
from services.ingest.dataset import Limits, Profile, Report, Split, State, UploadedFile
from services.ingest.finding import Finding
from services.ingest.keeping import Turns
from services.ingest.parents import ParentMissing, fetch_parent
from services.ingest.publish import (
    AttemptFiles,
    Published,
    publish,
    published,
    sweep,
    wrote,
)
from services.ingest.record import DatasetRecord, Problem, RawFile, StoredFile, to_json
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
            self._withdraw(record, claim.lease.token)
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
            self._release(claim, {"attempt": claim.lease.attempt - 1})
            raise
        except (OSError, DiskFailed) as error:
            # The scratch directory's fault: what others wait for may be smaller, so they go first.
            self._release(
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
                self._release(claim, {"attempt": claim.lease.attempt - 1})
                return
            log.exception("validation broke down")
            self._break_down(claim)

    def _validate(self, claim: Claim[DatasetRow], record: DatasetRecord) -> None:
        found = published(self._store, record)
        if found is not None:
            # A crash came between the manifest and the database: the manifest wins.
            self._finish(claim, record, found)
            return
        if claim.lease.attempt > self._options.max_attempts:
            self._break_down(claim)
            return
        profile = self._options.profiles.get(record.options.profile)
        if profile is None:
            self._fail(claim, [_profile_missing(record)], {})
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
                self._fail(claim, [_parent_missing(record)], {})
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
                written=files.add,
                cancellation=self._turns.cancellation,
            )
            _compare_sums(record, verdict)
            progress("publishing", 0.97)
            problems = [_problem(finding) for finding in verdict.refusals]
            if parent is not None and verdict.report.multi_label and not parent.multi_label:
                problems.append(_other_label_mode(record))
            if problems:
                findings = files.stored(verdict.findings)
                self._refuse(claim, record, verdict.report, findings, problems)
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
        self._finish(claim, record, accepted)

    def _finish(self, claim: Claim[DatasetRow], record: DatasetRecord, found: Published) -> None:
        # The manifest stands: nothing needs other uploads any more, whatever happens next.
        kept = {file.key for file in found.files}
        self._uploads.remove(record.tenant, record.id, keep=kept)
        self._release(
            claim,
            {
                **found.columns(),
                "state": State.READY,
                "update_time": datetime.now(UTC),
                "phase": "",
                "fraction": 1.0,
            },
        )
        sweep(self._store, record, found.files)
        # Nor what an upload stored meanwhile that had not seen the finalisation yet.
        self._uploads.remove(record.tenant, record.id, keep=kept)

    def _refuse(
        self,
        claim: Claim[DatasetRow],
        record: DatasetRecord,
        report: Report,
        findings: StoredFile,
        problems: list[Problem],
    ) -> None:
        self._fail(
            claim,
            problems,
            {
                "report": to_json(report),
                "findings": to_json(findings),
                "stored_bytes": findings.size,
            },
        )
        # After the row is FAILED no part is kept any more, so nothing comes behind this.
        self._uploads.remove(record.tenant, record.id)
        sweep(self._store, record, [findings])

    def _break_down(self, claim: Claim[DatasetRow]) -> None:
        """Fail a dataset by no fault that its owner could mend, or try it again."""
        if claim.lease.attempt < self._options.max_attempts:
            self._release(claim, {})
            return
        message = (
            f"Validation broke down {claim.lease.attempt} times; the server's log says why. The "
            "files were not judged."
        )
        self._fail(claim, [Problem(code="internal", where="dataset", message=message)], {})
        sweep(self._store, claim.row.record(), ())

    def _fail(
        self, claim: Claim[DatasetRow], problems: list[Problem], values: Mapping[str, Any]
    ) -> None:
        now = datetime.now(UTC)
        self._release(
            claim,
            {
                **values,
                "state": State.FAILED,
                "problems": to_json(problems),
                "validate_time": now,
                "update_time": now,
                "phase": "",
                "fraction": 1.0,
            },
        )
        # An attempt that was overtaken may have published since this one looked.
        self._store.delete(layout.dataset_manifest(claim.row.tenant, claim.row.id))

    def _release(self, claim: Claim[DatasetRow], values: Mapping[str, Any]) -> None:
        self._queue.update(claim.lease, values, release=True)

    def _withdraw(self, record: DatasetRecord, attempt: int) -> None:
        """Remove what this attempt wrote, unless the dataset lives on it."""
        with self._database.read() as session:
            row = session.get(DatasetRow, (record.tenant, record.id))
        manifest = layout.dataset_manifest(record.tenant, record.id)
        if row is None or row.deleting:
            # Perhaps just before this attempt's manifest came.
            self._store.delete(manifest)
            sweep(self._store, record, ())
            return
        found = published(self._store, record)
        if found is not None and row.state == State.FAILED and wrote(attempt, found):
            # Given up meanwhile: callers were told so.
            self._store.delete(manifest)
            found = None
        named = {file.key for file in found.files} if found else set()
        if row.findings:
            named.add(row.findings["key"])
        prefix = layout.dataset_prefix(record.tenant, record.id)
        for info in list(self._store.list(prefix)):
            # An attempt's number stands behind the content hash, as `publish` puts it.
            parts = info.key.removeprefix(prefix).split("/")
            if parts[1:2] == [str(attempt)] and parts[0] != "raw" and info.key not in named:
                self._store.delete(info.key)


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


def _problem(finding: Finding) -> Problem:
    where = str(finding.split or "dataset")
    return Problem(
        code=finding.code, where=where, message=f"{finding.message} {finding.fix}".strip()
    )


def _other_label_mode(record: DatasetRecord) -> Problem:
    return Problem(
        code="label_mode",
        where="dataset",
        message=f"The new texts have lists of labels, and those of {record.parent_name} one each: "
        "write one label a text, or upload a dataset of its own.",
    )


def _profile_missing(record: DatasetRecord) -> Problem:
    return Problem(
        code="profile_missing",
        where="dataset",
        message=f"Its profile {record.options.profile!r} was taken out of this server's settings: "
        "upload the files to a dataset with another profile.",
    )


def _parent_missing(record: DatasetRecord) -> Problem:
    return Problem(
        code="parent_missing",
        where="dataset",
        message=f"{record.parent_name}, whose rows it was to begin with, is gone: upload the files "
        "to a dataset of their own, or append them to another.",
    )


def _compare_sums(record: DatasetRecord, verdict: Verdict) -> None:
    for file in verdict.report.files:
        declared = record.declared[Split(file.split)].sha256
        if declared and declared != file.sha256:
            raise DataLoss(f"The {file.split} file changed in the store after it was finalised.")
