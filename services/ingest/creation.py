"""Creates datasets: anew, or beginning with the rows of another. Once for each request id.

Synchronous; every method takes the tenant first and sees nothing of any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from services.common.database import Database
from services.common.errors import FailedPrecondition, FieldViolation, InvalidArgument, Reason
from services.common.names import Collection, check_display_name, new_name
from services.common.requests import check_request_id, claim_request, find_request, forget_requests
from services.ingest.dataset import DatasetOptions, Profile, Split, State
from services.ingest.option_rules import check_options
from services.ingest.record import DatasetRecord, SourceFile, to_json
from services.ingest.tables import DatasetRow, RequestRow
from services.ingest.uploading.gate import find_row
from services.ingest.uploading.quotas import Quotas

REQUESTS_REMEMBERED = timedelta(days=7)
"""How long a call can be repeated under its request id: longer than any caller tries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDataset:
    """What a caller wants to be created."""

    display_name: str
    options: DatasetOptions
    expire_time: datetime | None = None
    """When it is deleted by itself; None leaves that to the operator."""


class Creation:
    """Creates datasets of all tenants. Thread safe."""

    def __init__(
        self,
        database: Database,
        profiles: Mapping[str, Profile],
        *,
        quotas: Quotas,
        retention: timedelta | None = None,
    ) -> None:
        """Keep the parts.

        Args:
            database: With the tables of `services.ingest.tables`.
            profiles: What `DatasetOptions.profile` may name.
            quotas: What a tenant may have.
            retention: After how long a dataset is deleted whose creator said nothing of it; None
                for never.
        """
        self._database = database
        self._profiles = profiles
        self._quotas = quotas
        self._retention = retention

    def create(
        self, tenant: str, wanted: NewDataset, *, request_id: str = "", validate_only: bool = False
    ) -> DatasetRecord:
        """Create a dataset that can be written to.

        Args:
            tenant: Whose.
            wanted: What to create.
            request_id: Makes the call safe to repeat; may be empty.
            validate_only: Create nothing; the answer has no id.

        Raises:
            InvalidArgument: Naming every field that is wrong.
            AlreadyExists: Where the request id was used for another request.
        """
        now = datetime.now(UTC)
        self._check(wanted, request_id, now)
        row = self._new_row(tenant, wanted, now)
        if validate_only:
            row.id = ""
            return row.record()
        with self._database.write() as session:
            return self._insert(session, row, "CreateDataset", request_id, _fingerprint(wanted))

    def imported(
        self, tenant: str, wanted: NewDataset, uris: Mapping[Split, str], *, request_id: str
    ) -> DatasetRecord | None:
        """Return what the same import created before; None where it is new.

        Raises:
            InvalidArgument, AlreadyExists: As `create`.
        """
        self._check(wanted, request_id, datetime.now(UTC))
        with self._database.read() as session:
            before = find_request(
                session,
                RequestRow,
                tenant=tenant,
                method="ImportDataset",
                request_id=request_id,
                fingerprint=_fingerprint(wanted, uris),
            )
            return None if before is None else find_row(session, tenant, before).record()

    def create_import(
        self,
        tenant: str,
        wanted: NewDataset,
        sources: Mapping[Split, SourceFile],
        *,
        request_id: str,
    ) -> DatasetRecord:
        """Create a dataset whose files are copied from elsewhere.

        Args:
            tenant: Whose.
            wanted: What to create.
            sources: Its files.
            request_id: As in `create`.

        Raises:
            InvalidArgument, AlreadyExists: As `create`.
            ResourceExhausted: Where the tenant may not store so much.
        """
        now = datetime.now(UTC)
        self._check(wanted, request_id, now)
        row = self._new_row(tenant, wanted, now)
        row.sources = to_json(sources)
        row.phase = "waiting to be imported"
        fingerprint = _fingerprint(wanted, {split: file.uri for split, file in sources.items()})
        with self._database.write() as session:
            self._quotas.check_bytes(session, tenant, sum(file.size for file in sources.values()))
            return self._insert(session, row, "ImportDataset", request_id, fingerprint)

    def append(
        self, tenant: str, parent: str, wanted: NewDataset, *, request_id: str = ""
    ) -> DatasetRecord:
        """Create a dataset that begins with the rows of `parent`, and can be written to.

        Args:
            tenant: Whose.
            parent: Id of a READY dataset.
            wanted: What to create. Of its options those count that say how the new files are to
                be read; what rows must be is the parent's to say.
            request_id: As in `create`.

        Raises:
            InvalidArgument, AlreadyExists: As `create`.
            FailedPrecondition: Where the parent is not READY.
            NotFound: Where there is no such parent.
        """
        now = datetime.now(UTC)
        self._check(wanted, request_id, now)
        fingerprint = _fingerprint(wanted, parent)
        with self._database.write() as session:
            # First of all: the parent may be gone since the same call was answered.
            before = find_request(
                session,
                RequestRow,
                tenant=tenant,
                method="AppendDataset",
                request_id=request_id,
                fingerprint=fingerprint,
            )
            if before is not None:
                return find_row(session, tenant, before).record()
            # Locked, so that it cannot be deleted before there is a child that keeps it.
            record = find_row(session, tenant, parent, lock=True).record()
            require(record, State.READY)
            if record.options.profile not in self._profiles:
                raise _profile_gone(record)
            row = self._new_row(
                tenant, replace(wanted, options=appended_options(wanted.options, record)), now
            )
            row.parent = parent
            return self._insert(session, row, "AppendDataset", request_id, fingerprint)

    def forget_requests(self) -> None:
        """Forget the ids of old requests."""
        before = datetime.now(UTC) - REQUESTS_REMEMBERED
        with self._database.write() as session:
            forget_requests(session, RequestRow, before)

    def _check(self, wanted: NewDataset, request_id: str, now: datetime) -> None:
        violations = [
            *check_display_name(wanted.display_name, field="dataset.display_name"),
            *check_options(wanted.options, self._profiles),
            *check_expire_time(wanted.expire_time, now),
            *check_request_id(request_id),
        ]
        if violations:
            raise InvalidArgument(violations)

    def _new_row(self, tenant: str, wanted: NewDataset, now: datetime) -> DatasetRow:
        expire_time = wanted.expire_time
        if expire_time is None and self._retention is not None:
            expire_time = now + self._retention
        return DatasetRow(
            tenant=tenant,
            id=new_name(Collection.DATASETS, wanted.display_name).id,
            display_name=wanted.display_name,
            search_name=wanted.display_name.casefold(),
            state=State.UPLOADING,
            options=to_json(wanted.options),
            create_time=now,
            update_time=now,
            expire_time=expire_time,
            parent="",
            declared={},
            phase="",
            fraction=0.0,
            content_hash="",
            deleting=False,
        )

    def _insert(
        self, session: Session, row: DatasetRow, method: str, request_id: str, fingerprint: bytes
    ) -> DatasetRecord:
        """Insert a row, or return what the same request created before."""
        before = claim_request(
            session,
            RequestRow,
            tenant=row.tenant,
            method=method,
            request_id=request_id,
            fingerprint=fingerprint,
            resource=row.id,
            now=row.create_time,
        )
        if before is not None:
            return find_row(session, row.tenant, before).record()
        self._quotas.check_upload(session, row.tenant)
        session.add(row)
        return row.record()


def check_expire_time(expire_time: datetime | None, now: datetime) -> list[FieldViolation]:
    """Return what is wrong with the time at which a dataset is to be deleted."""
    if expire_time is None or expire_time > now:
        return []
    return [
        FieldViolation(
            field="dataset.expire_time",
            description=f"{expire_time.isoformat(timespec='seconds')} is over: send a time that "
            "is to come, or call DeleteDataset.",
        )
    ]


def require(record: DatasetRecord, *states: State) -> None:
    """Make sure that a dataset is in one of `states`.

    Raises:
        FailedPrecondition: Saying what it waits for.
    """
    if record.state in states:
        return
    doing = {
        State.UPLOADING: "its upload was not finalised: call FinalizeDataset",
        State.VALIDATING: "it is being validated: follow it with WatchDataset",
        State.FAILED: "it was refused: ListFindings says why",
    }
    raise FailedPrecondition(
        f"{record.name} is not READY: {doing.get(record.state, record.state)}.",
        reason=Reason.DATASET_REFUSED if record.state is State.FAILED else Reason.DATASET_NOT_READY,
        metadata={"name": record.name, "state": record.state},
    )


def _profile_gone(parent: DatasetRecord) -> InvalidArgument:
    return InvalidArgument(
        FieldViolation(
            field="parent_dataset",
            description=f"has the profile `{parent.options.profile}`, which was taken out of this "
            "server's settings: upload all rows to a dataset with another profile.",
        )
    )


def appended_options(wanted: DatasetOptions, parent: DatasetRecord) -> DatasetOptions:
    """Return how files are read that are added to `parent`, and what their rows must be.

    Raises:
        InvalidArgument: Where they would have several labels a text and the parent's have one.
    """
    is_multi_label = parent.report is not None and parent.report.multi_label
    if wanted.label_separator and not is_multi_label:
        raise InvalidArgument(
            FieldViolation(
                field="dataset.options.label_separator",
                description=f"is {wanted.label_separator!r}, but {parent.name} has one label a "
                "text: leave it empty.",
            )
        )
    return replace(
        wanted,
        profile=parent.options.profile,
        cleaning=parent.options.cleaning,
        near_duplicates=parent.options.near_duplicates,
        label_separator=wanted.label_separator or parent.options.label_separator,
        split=replace(parent.options.split, column=wanted.split.column),
    )


def _fingerprint(wanted: NewDataset, begins_with: str | Mapping[Split, str] = "") -> bytes:
    """Return the same bytes for the same request."""
    expires = wanted.expire_time.isoformat() if wanted.expire_time else ""
    content = [wanted.display_name, to_json(wanted.options), expires, to_json(begins_with)]
    return json.dumps(content, sort_keys=True).encode()
