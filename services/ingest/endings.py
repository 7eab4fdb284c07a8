"""Ends the validation of a dataset: its row, and what of its files stays in the store.

Every ending is one that another validator can go on from, whenever this one is killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.common import layout
from services.common.database import Database
from services.common.leases import Claim, LeaseQueue
from services.common.storage import ObjectStore
from services.ingest.dataset import Report, State
from services.ingest.publish import Published, published, sweep, wrote
from services.ingest.record import DatasetRecord, Problem, StoredFile, to_json
from services.ingest.tables import DatasetRow
from services.ingest.uploading.uploads import Uploads


class Endings:
    """What can become of a dataset that was claimed. All but `withdraw` give the lease back."""

    def __init__(
        self,
        *,
        database: Database,
        store: ObjectStore,
        uploads: Uploads,
        queue: LeaseQueue[DatasetRow],
        max_attempts: int,
    ) -> None:
        """Keep the parts.

        Args:
            database: Where rows are.
            store: Where files are.
            uploads: Bytes that nobody needs in the end.
            queue: Where the leases are from.
            max_attempts: Claims after which a dataset fails.
        """
        self._database = database
        self._store = store
        self._uploads = uploads
        self._queue = queue
        self._max_attempts = max_attempts

    def finish(self, claim: Claim[DatasetRow], record: DatasetRecord, found: Published) -> None:
        """Make a dataset READY that was published."""
        # The manifest stands: nothing needs other uploads any more, whatever happens next.
        kept = {file.key for file in found.files}
        self._uploads.remove(record.tenant, record.id, keep=kept)
        self.release(
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

    def refuse(
        self,
        claim: Claim[DatasetRow],
        record: DatasetRecord,
        report: Report,
        findings: StoredFile,
        problems: list[Problem],
    ) -> None:
        """Let a dataset fail for its files, and say why."""
        self.fail(
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

    def break_down(self, claim: Claim[DatasetRow]) -> None:
        """Fail a dataset by no fault that its owner could mend, or try it again."""
        if claim.lease.attempt < self._max_attempts:
            self.release(claim, {})
            return
        message = (
            f"Validation broke down {claim.lease.attempt} times; the server's log says why. The "
            "files were not judged."
        )
        self.fail(claim, [Problem(code="internal", where="dataset", message=message)], {})
        sweep(self._store, claim.row.record(), ())

    def fail(
        self, claim: Claim[DatasetRow], problems: list[Problem], values: Mapping[str, Any]
    ) -> None:
        """Let a dataset fail.

        Args:
            claim: Of the dataset.
            problems: Why.
            values: What else its row says.
        """
        now = datetime.now(UTC)
        self.release(
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

    def release(self, claim: Claim[DatasetRow], values: Mapping[str, Any]) -> None:
        """Write down `values` and give the lease back.

        Raises:
            LeaseLost: Where it is somebody else's by now.
        """
        self._queue.update(claim.lease, values, release=True)

    def withdraw(self, record: DatasetRecord, attempt: int) -> None:
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
