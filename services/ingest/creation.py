"""Creates datasets: anew, or beginning with the rows of another. Once for each request id.

Synchronous; every method takes the tenant first and sees nothing of any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from services.common.database import Database
from services.common.errors import FailedPrecondition, FieldViolation, InvalidArgument, Reason
from services.common.names import Collection, check_display_name, new_name
from services.common.requests import check_request_id, claim_request, find_request
from services.ingest.dataset import DatasetOptions, Profile, State
from services.ingest.gate import find_row
from services.ingest.option_rules import check_options
from services.ingest.record import DatasetRecord, to_json
from services.ingest.tables import DatasetRow, RequestRow


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDataset:
    """What a caller wants to be created."""

    display_name: str
    options: DatasetOptions
    expire_time: datetime | None = None
    """When it is deleted by itself; None leaves that to the operator."""


class Creation:
    """Creates datasets of all tenants. Thread safe."""

    def __init__(self, database: Database, profiles: Mapping[str, Profile]) -> None:
        """Keep the parts.

        Args:
            database: With the tables of `services.ingest.tables`.
            profiles: What `DatasetOptions.profile` may name.
        """
        self._database = database
        self._profiles = profiles

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
        row = _new_row(tenant, wanted, now)
        if validate_only:
            row.id = ""
            return row.record()
        with self._database.write() as session:
            return _insert(session, row, "CreateDataset", request_id, _fingerprint(wanted))

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
            row = _new_row(
                tenant, replace(wanted, options=appended_options(wanted.options, record)), now
            )
            row.parent = parent
            return _insert(session, row, "AppendDataset", request_id, fingerprint)

    def _check(self, wanted: NewDataset, request_id: str, now: datetime) -> None:
        violations = [
            *check_display_name(wanted.display_name, field="dataset.display_name"),
            *check_options(wanted.options, self._profiles),
            *check_expire_time(wanted.expire_time, now),
            *check_request_id(request_id),
        ]
        if violations:
            raise InvalidArgument(violations)


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


def _new_row(tenant: str, wanted: NewDataset, now: datetime) -> DatasetRow:
    return DatasetRow(
        tenant=tenant,
        id=new_name(Collection.DATASETS, wanted.display_name).id,
        display_name=wanted.display_name,
        search_name=wanted.display_name.casefold(),
        state=State.UPLOADING,
        options=to_json(wanted.options),
        create_time=now,
        update_time=now,
        expire_time=wanted.expire_time,
        parent="",
        declared={},
        phase="",
        fraction=0.0,
        content_hash="",
        deleting=False,
    )


def _insert(
    session: Session, row: DatasetRow, method: str, request_id: str, fingerprint: bytes
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
    session.add(row)
    return row.record()


def _fingerprint(wanted: NewDataset, parent: str = "") -> bytes:
    """Return the same bytes for the same request."""
    expires = wanted.expire_time.isoformat() if wanted.expire_time else ""
    content = [wanted.display_name, to_json(wanted.options), expires, parent]
    return json.dumps(content, sort_keys=True).encode()
