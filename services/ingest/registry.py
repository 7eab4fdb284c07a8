"""The datasets that the service knows: created, uploaded to, finalised, listed, deleted.

Synchronous; every method takes the tenant first and sees nothing of any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa

from services.common import layout
from services.common.database import Database
from services.common.errors import (
    Aborted,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    Reason,
)
from services.common.names import Collection, ResourceName, check_display_name, new_name
from services.common.pagination import Page, PageRequest, cut_page, time_and_id
from services.common.requests import check_request_id, claim_request
from services.common.storage import ObjectStore
from services.ingest.dataset import DatasetOptions, Profile, Split, State
from services.ingest.gate import RowGate, find_row
from services.ingest.option_rules import check_options
from services.ingest.record import DatasetRecord, DeclaredFile, to_json
from services.ingest.tables import DatasetRow, RequestRow
from services.ingest.uploads import Uploads, UploadWriter


class Registry:
    """The datasets of all tenants. Thread safe."""

    def __init__(
        self,
        *,
        database: Database,
        store: ObjectStore,
        uploads: Uploads,
        profiles: Mapping[str, Profile],
    ) -> None:
        """Keep the parts.

        Args:
            database: With the tables of `services.ingest.tables`.
            store: Where published datasets and the marks of their users lie.
            uploads: The uploaded bytes.
            profiles: What `DatasetOptions.profile` may name.
        """
        self._database = database
        self._store = store
        self._uploads = uploads
        self._profiles = profiles

    def create(
        self,
        tenant: str,
        *,
        display_name: str,
        options: DatasetOptions,
        request_id: str,
        validate_only: bool,
    ) -> DatasetRecord:
        """Create a dataset that can be written to.

        Args:
            tenant: Whose.
            display_name: A name for people.
            options: How its files are to be read.
            request_id: Makes the call safe to repeat; may be empty.
            validate_only: Create nothing; the answer has no id.

        Raises:
            InvalidArgument: Naming every field that is wrong.
            AlreadyExists: Where the request id was used for another request.
        """
        violations = [
            *check_display_name(display_name, field="dataset.display_name"),
            *check_options(options, self._profiles),
            *check_request_id(request_id),
        ]
        if violations:
            raise InvalidArgument(violations)
        now = datetime.now(UTC)
        name = new_name(Collection.DATASETS, display_name)
        row = DatasetRow(
            tenant=tenant,
            id=name.id,
            display_name=display_name,
            state=State.UPLOADING,
            options=to_json(options),
            create_time=now,
            update_time=now,
            declared={},
            phase="",
            fraction=0.0,
            content_hash="",
            deleting=False,
        )
        if validate_only:
            row.id = ""
            return row.record()
        fingerprint = json.dumps([display_name, to_json(options)], sort_keys=True).encode()
        with self._database.write() as session:
            before = claim_request(
                session,
                RequestRow,
                tenant=tenant,
                method="CreateDataset",
                request_id=request_id,
                fingerprint=fingerprint,
                resource=name.id,
                now=now,
            )
            if before is not None:
                return find_row(session, tenant, before).record()
            session.add(row)
        return row.record()

    def get(self, tenant: str, dataset: str) -> DatasetRecord:
        """Return one dataset.

        Raises:
            NotFound: Where the tenant has none of that id.
        """
        with self._database.read() as session:
            return find_row(session, tenant, dataset).record()

    def list(self, tenant: str, request: PageRequest) -> Page[DatasetRecord]:
        """Return one page of the tenant's datasets, newest first."""
        query = sa.select(DatasetRow).where(
            DatasetRow.tenant == tenant, DatasetRow.deleting.is_(False)
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

    def write(self, tenant: str, dataset: str, split: Split) -> UploadWriter:
        """Return a writer that stores bytes as long as the dataset takes them.

        Raises:
            FailedPrecondition: Where the upload was finalised.
            NotFound: Where there is no such dataset.
        """
        gate = RowGate(self._database, tenant, dataset, split)
        gate.check_open()
        return self._uploads.open(tenant, dataset, split, gate=gate)

    def finalize(
        self, tenant: str, dataset: str, declared: Mapping[Split, DeclaredFile]
    ) -> DatasetRecord:
        """Check what was uploaded and hand the dataset to the validators.

        Args:
            tenant: Whose.
            dataset: Its id.
            declared: What the caller believes to have uploaded; files that it does not name
                are not checked.

        Raises:
            InvalidArgument: Where no training file was uploaded.
            FailedPrecondition: Where stored bytes differ from what is declared.
            Aborted: Where bytes arrived meanwhile.
        """
        record = self.get(tenant, dataset)
        if record.state is not State.UPLOADING:
            known = dict(record.declared)
            for file in record.report.files if record.report else ():
                known[file.split] = DeclaredFile(size_bytes=file.size_bytes, sha256=file.sha256)
            _compare(declared, known)
            return record
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
                    phase="waiting for a validator",
                    update_time=datetime.now(UTC),
                )
            )
            # Under the row's lock, which `RowGate.check_kept` waits for: a part that was
            # acknowledged is counted here, one that comes later is refused there.
            sizes = {split: file.size_bytes for split, file in stored.items()}
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

    def delete(self, tenant: str, dataset: str) -> None:
        """Delete a dataset and all that is stored of it.

        Raises:
            FailedPrecondition: Where models use it; names them.
        """
        record = self.get(tenant, dataset)
        prefix = layout.dataset_uses_prefix(tenant, dataset)
        models = [
            str(ResourceName(collection=Collection.MODELS, id=info.key.removeprefix(prefix)))
            for info in self._store.list(prefix)
        ]
        if models:
            raise FailedPrecondition(
                f"{record.name} is used by {', '.join(models)}: delete "
                f"{'that model' if len(models) == 1 else 'those models'} first.",
                reason=Reason.DATASET_IN_USE,
                metadata={"name": record.name, "models": ",".join(models)},
            )
        # From here on it is gone for every caller, and whoever validates it has lost its lease;
        # if this process dies, `finish_deletions` does the rest.
        with self._database.write() as session:
            session.execute(
                sa.update(DatasetRow)
                .where(DatasetRow.tenant == tenant, DatasetRow.id == dataset)
                .values(deleting=True, token=DatasetRow.token + 1, lease_until=None)
            )
        self._purge(tenant, dataset)

    def finish_deletions(self) -> None:
        """Go on with deletions that a crash has cut short."""
        with self._database.read() as session:
            rows = session.scalars(
                sa.select(DatasetRow).where(DatasetRow.deleting.is_(True)).limit(100)
            ).all()
        for row in rows:
            self._purge(row.tenant, row.id)

    def _purge(self, tenant: str, dataset: str) -> None:
        self._remove_objects(tenant, dataset)
        with self._database.write() as session:
            session.execute(
                sa.delete(DatasetRow).where(
                    DatasetRow.tenant == tenant,
                    DatasetRow.id == dataset,
                    DatasetRow.deleting.is_(True),
                )
            )
        # What a validator or an upload put there meanwhile, without having looked at the row yet.
        self._remove_objects(tenant, dataset)

    def _remove_objects(self, tenant: str, dataset: str) -> None:
        # The manifest first: without it, nothing else is part of a dataset.
        self._store.delete(layout.dataset_manifest(tenant, dataset))
        for info in list(self._store.list(layout.dataset_prefix(tenant, dataset))):
            self._store.delete(info.key)


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

    Strings of the report dominate; UTF-8 has at most four bytes a character, the rest is below
    4 kB.
    """
    report = record.report
    words = [problem.message for problem in record.problems]
    if report is not None:
        words += [*report.removed_labels, *report.warnings]
    return 4096 + sum(4 * len(word) + 16 for word in words)
