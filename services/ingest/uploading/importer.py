"""Copies what is to be imported, under a lease, and hands it to the validators.

Killed at any point, it goes on at the committed size of each file; only the version of a file that
was there when its import was asked for is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from services.common.database import Database
from services.common.errors import FailedPrecondition, NotFound, ResourceExhausted, Unavailable
from services.common.leases import Claim, LeaseLost, LeaseQueue
from services.common.storage import Reader
from services.ingest.cancellation import Cancelled
from services.ingest.dataset import Split, State
from services.ingest.keeping import Turns
from services.ingest.record import DatasetRecord, DeclaredFile, Problem, SourceFile, to_json
from services.ingest.registry import Registry
from services.ingest.tables import DatasetRow
from services.ingest.uploading.gate import RowGate
from services.ingest.uploading.quotas import Quotas
from services.ingest.uploading.uploads import Uploads

_log = structlog.get_logger()


class Importer:
    """Copies one dataset at a time. `run_one` blocks; `stop` is called from another thread."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        uploads: Uploads,
        quotas: Quotas,
        readers: Mapping[str, Reader],
        owner: str,
        lease_seconds: float,
    ) -> None:
        """Keep the parts.

        Args:
            database: With the tables of `services.ingest.tables`.
            registry: Takes what was copied.
            uploads: Where the bytes go.
            quotas: What a tenant may store.
            readers: The buckets that may be imported from, by name.
            owner: Who holds a lease, for people.
            lease_seconds: After so long without a sign of life, another one goes on.
        """
        self._database = database
        self._registry = registry
        self._uploads = uploads
        self._quotas = quotas
        self._readers = readers
        self._queue = LeaseQueue(database, DatasetRow, owner=owner, seconds=lease_seconds)
        self._turns = Turns(
            self._queue,
            DatasetRow.state == State.UPLOADING,
            DatasetRow.sources.is_not(None),
            seconds=lease_seconds,
            work=self._process,
        )
        self.run_one = self._turns.run_one
        self.stop = self._turns.stop
        self.close = self._turns.close

    def _process(self, claim: Claim[DatasetRow]) -> None:
        record = claim.row.record()
        log = _log.bind(tenant=record.tenant, dataset=record.id)
        log.info("import started", attempt=claim.lease.attempt)
        try:
            self._import(claim, record)
        except LeaseLost:
            log.info("import overtaken")
        else:
            log.info("import ended")

    def _import(self, claim: Claim[DatasetRow], record: DatasetRecord) -> None:
        try:
            for split, source in record.sources.items():
                self._copy(record, split, source)
        except (_SourceGone, ResourceExhausted) as error:
            self._fail(claim, error)
        except (FailedPrecondition, NotFound):
            # Deleted, or finalised by another one, while this one was overtaken.
            raise LeaseLost from None
        except Cancelled:
            self._queue.update(claim.lease, {}, release=True)
        except Unavailable:
            # Others first: they may lie on a server that answers.
            self._queue.update(claim.lease, {"update_time": datetime.now(UTC)}, release=True)
            raise
        else:
            self._finish(claim, record)

    def _copy(self, record: DatasetRecord, split: Split, source: SourceFile) -> None:
        reader = self._readers.get(source.bucket)
        if reader is None:
            raise _SourceGone(source, "lies in a bucket that is not allowed any more")
        gate = RowGate(
            self._database, self._quotas, record.tenant, record.id, split, importing=True
        )
        writer = self._uploads.open(record.tenant, record.id, split, gate=gate)
        try:
            for chunk in reader.read(
                source.key, offset=writer.received, end=source.size, etag=source.etag
            ):
                self._turns.cancellation.check()
                if writer.add(None, chunk):
                    writer.store()
        except NotFound as error:
            if error.name == source.key:
                raise _SourceGone(source, "was removed or replaced while it was imported") from None
            raise
        writer.flush()

    def _finish(self, claim: Claim[DatasetRow], record: DatasetRecord) -> None:
        declared = {
            split: DeclaredFile(size_bytes=source.size) for split, source in record.sources.items()
        }
        self._registry.finalize(record.tenant, record.id, declared, importing=True)
        # The attempts of a validation are counted anew.
        self._queue.update(claim.lease, {"attempt": 0}, release=True)

    def _fail(self, claim: Claim[DatasetRow], error: Exception) -> None:
        now = datetime.now(UTC)
        problem = Problem(code="import", where="dataset", message=str(error))
        self._queue.update(
            claim.lease,
            {
                "state": State.FAILED,
                "problems": to_json([problem]),
                "validate_time": now,
                "update_time": now,
                "phase": "",
                "stored_bytes": 0,
            },
            release=True,
        )
        # After the row is FAILED no part is kept any more, so nothing comes behind this.
        self._uploads.remove(claim.row.tenant, claim.row.id)


class _SourceGone(Exception):
    """A file cannot be imported any more, whatever is tried."""

    def __init__(self, source: SourceFile, what: str) -> None:
        super().__init__(f"{source.uri} {what}: import it again.")
