"""The datasets that the service knows: uploaded to, finalised, listed, changed.

Synchronous; every method takes the tenant first and sees nothing of any other.
"""

from __future__ import annotations

import json
from collections.abc import Collection as AnyCollection
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa

from services.common.database import Database
from services.common.errors import (
    Aborted,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    Reason,
)
from services.common.names import check_display_name
from services.common.pagination import Page, PageRequest, cut_page, time_and_id
from services.common.storage import ObjectStore
from services.ingest import changes
from services.ingest.creation import check_expire_time
from services.ingest.dataset import Split, State
from services.ingest.record import DatasetRecord, DeclaredFile, to_json
from services.ingest.tables import DatasetRow
from services.ingest.uploading.gate import RowGate, find_row, still_importing
from services.ingest.uploading.quotas import Quotas
from services.ingest.uploading.uploads import Uploads
from services.ingest.uploading.writer import UploadWriter
from services.ingest.usage import Usage, usage_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to become of a dataset."""

    display_name: str | None = None
    """None where it stays."""

    expires: bool = False
    """Whether `expire_time` is to be set, or taken away where it is None."""

    expire_time: datetime | None = None
    etag: str = ""
    """What the dataset must have; empty takes it as it is."""


class Registry:
    """The datasets of all tenants. Thread safe."""

    def __init__(
        self, *, database: Database, store: ObjectStore, uploads: Uploads, quotas: Quotas
    ) -> None:
        """Keep the parts.

        Args:
            database: With the tables of `services.ingest.tables`.
            store: Where what is changed is kept, too.
            uploads: The uploaded bytes.
            quotas: What a tenant may store.
        """
        self._database = database
        self._store = store
        self._uploads = uploads
        self._quotas = quotas

    def get(self, tenant: str, dataset: str) -> DatasetRecord:
        """Return one dataset.

        Raises:
            NotFound: Where the tenant has none of that id.
        """
        with self._database.read() as session:
            return find_row(session, tenant, dataset).record()

    def list(
        self,
        tenant: str,
        request: PageRequest,
        *,
        states: AnyCollection[State] = (),
        name_part: str = "",
    ) -> Page[DatasetRecord]:
        """Return one page of the tenant's datasets, newest first.

        Args:
            tenant: Whose.
            request: Which page.
            states: Only datasets in one of these; empty for all.
            name_part: Only datasets whose display name holds this, whatever the case.
        """
        query = sa.select(DatasetRow).where(
            DatasetRow.tenant == tenant, DatasetRow.deleting.is_(False)
        )
        if states:
            query = query.where(DatasetRow.state.in_(states))
        if name_part:
            query = query.where(
                DatasetRow.search_name.contains(name_part.casefold(), autoescape=True)
            )
        if request.cursor is not None:
            after, last = time_and_id(request.cursor)
            query = query.where(
                sa.or_(
                    DatasetRow.create_time < after,
                    sa.and_(DatasetRow.create_time == after, DatasetRow.id < last),
                )
            )
        query = query.order_by(DatasetRow.create_time.desc(), DatasetRow.id.desc())
        with self._database.read() as session:
            rows = session.scalars(query.limit(request.size + 1)).all()
        return cut_page(
            [row.record() for row in rows],
            request=request,
            cursor_of=lambda record: (record.create_time.isoformat(), record.id),
            size_of=_size_in_a_list,
        )

    def usage(self, tenant: str) -> Usage:
        """Count what the tenant stores."""
        with self._database.read() as session:
            return usage_of(session, tenant)

    def update(self, tenant: str, dataset: str, change: Change) -> DatasetRecord:
        """Change what can be changed of a dataset.

        Raises:
            InvalidArgument: Naming every field that is wrong.
            Aborted: Where it is not as the caller saw it.
            NotFound: Where there is no such dataset.
            Unavailable: Where it was changed, and the store does not answer; call again.
        """
        now = datetime.now(UTC)
        values: dict[str, Any] = {"update_time": now}
        violations: list[FieldViolation] = []
        if change.display_name is not None:
            violations += check_display_name(change.display_name, field="dataset.display_name")
            values["display_name"] = change.display_name
            values["search_name"] = change.display_name.casefold()
        if change.expires:
            violations += check_expire_time(change.expire_time, now)
            values["expire_time"] = change.expire_time
        if violations:
            raise InvalidArgument(violations)
        with self._database.write() as session:
            row = find_row(session, tenant, dataset, lock=True)
            check_etag(row.record(), change.etag)
            for name, value in values.items():
                setattr(row, name, value)
            record = row.record()
        self._keep(record)
        return record

    def _keep(self, record: DatasetRecord) -> None:
        """Leave word of a change in the store; of several at the same time, the last one's."""
        while True:
            changes.keep(self._store, record)
            now = self.get(record.tenant, record.id)
            if now.etag == record.etag:
                return
            record = now

    def write(self, tenant: str, dataset: str, split: Split) -> UploadWriter:
        """Return a writer that stores bytes as long as the dataset takes them.

        Raises:
            FailedPrecondition: Where the upload was finalised.
            NotFound: Where there is no such dataset.
        """
        gate = RowGate(self._database, self._quotas, tenant, dataset, split)
        gate.check_open()
        return self._uploads.open(tenant, dataset, split, gate=gate)

    def finalize(
        self,
        tenant: str,
        dataset: str,
        declared: Mapping[Split, DeclaredFile],
        *,
        importing: bool = False,
    ) -> DatasetRecord:
        """Check what was uploaded and hand the dataset to the validators.

        Args:
            tenant: Whose.
            dataset: Its id.
            declared: What the caller believes to have uploaded; files that it does not name
                are not checked.
            importing: Whether an import is at its end, which callers cannot finalise.

        Raises:
            InvalidArgument: Where no training file was uploaded.
            FailedPrecondition: Where stored bytes differ from what is declared, or are still
                being imported.
            ResourceExhausted: Where they are too many.
            Aborted: Where bytes arrived meanwhile.
        """
        record = self.get(tenant, dataset)
        if record.state is not State.UPLOADING:
            known = dict(record.declared)
            for file in record.report.files if record.report else ():
                known[file.split] = DeclaredFile(size_bytes=file.size_bytes, sha256=file.sha256)
            _compare(declared, known)
            return record
        if record.sources and not importing:
            raise still_importing(record)
        stored = {
            split: DeclaredFile(
                size_bytes=size,
                sha256=self._uploads.sha256(tenant, dataset, split, size)
                if split in declared and declared[split].sha256
                else "",
            )
            for split, size in self._uploads.sizes(tenant, dataset).items()
        }
        _compare(declared, stored)
        sizes = {split: file.size_bytes for split, file in stored.items()}
        # Addresses for direct uploads may be given out for several files at once.
        self._uploads.limits.check(sizes)
        if Split.TRAIN not in stored:
            raise InvalidArgument(
                FieldViolation(
                    field="name",
                    description=f"{record.name} has no training file yet: upload one with "
                    "WriteDataset and the split SPLIT_TRAIN.",
                )
            )
        with self._database.write() as session:
            changed = session.execute(
                sa.update(DatasetRow)
                .where(
                    DatasetRow.tenant == tenant,
                    DatasetRow.id == dataset,
                    DatasetRow.state == State.UPLOADING,
                    DatasetRow.deleting.is_(False),
                )
                .values(
                    state=State.VALIDATING,
                    declared=to_json(stored),
                    stored_bytes=sum(sizes.values()),
                    phase="waiting for a validator",
                    update_time=datetime.now(UTC),
                )
            )
            # Under the row's lock, which `RowGate.check_kept` waits for: a part that was
            # acknowledged is counted here, one that comes later is refused there.
            if (
                cast("sa.CursorResult[Any]", changed).rowcount
                and self._uploads.sizes(tenant, dataset) != sizes
            ):
                raise Aborted(
                    f"Bytes of {record.name} were still arriving: end every WriteDataset stream, "
                    "then finalise again.",
                    metadata={"name": record.name},
                )
            return find_row(session, tenant, dataset).record()


def check_etag(record: DatasetRecord, etag: str) -> None:
    """Make sure that a dataset is as the caller saw it; an empty etag says nothing.

    Raises:
        Aborted: Where it has changed.
    """
    if etag and etag != record.etag:
        raise Aborted(
            f"{record.name} has changed since its etag was {etag}: read it again, then decide.",
            reason=Reason.ETAG_MISMATCH,
            metadata={"name": record.name, "etag": record.etag},
        )


def _compare(declared: Mapping[Split, DeclaredFile], stored: Mapping[Split, DeclaredFile]) -> None:
    """Compare what the caller declares with what is stored, as far as both are known.

    Raises:
        FailedPrecondition: Naming both sides of every difference.
    """
    differences: list[str] = []
    metadata: dict[str, str] = {}
    for split, file in declared.items():
        there = stored.get(split, DeclaredFile(size_bytes=0))
        if file.size_bytes != there.size_bytes:
            differences.append(
                f"the {split} file has {there.size_bytes} bytes here and {file.size_bytes} at the "
                "caller"
            )
            metadata[f"{split}.stored_size"] = str(there.size_bytes)
            metadata[f"{split}.declared_size"] = str(file.size_bytes)
        elif file.sha256 and there.sha256 and file.sha256.lower() != there.sha256:
            differences.append(
                f"the {split} file has the sha256 {there.sha256} here and {file.sha256} at the "
                "caller"
            )
            metadata[f"{split}.stored_sha256"] = there.sha256
            metadata[f"{split}.declared_sha256"] = file.sha256
    if differences:
        raise FailedPrecondition(
            f"What is stored differs: {'; '.join(differences)}. A shorter file goes on at its "
            "size; any other difference needs a new dataset.",
            reason=Reason.CHECKSUM_MISMATCH,
            metadata=metadata,
        )


def _size_in_a_list(record: DatasetRecord) -> int:
    """Return a bound on the bytes of a dataset in a response.

    As JSON in ASCII no string is shorter than on the wire, and no number shorter than half.
    """
    words = to_json([record.options, record.report, record.problems])
    return 1024 + 2 * len(json.dumps(words))
