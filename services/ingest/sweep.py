"""Clears away what nobody wants any more: expired datasets, abandoned uploads, orphaned objects.

Each sweep can be cut short anywhere and be repeated, beside others that do the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby

import sqlalchemy as sa
import structlog

from services.common import layout
from services.common.database import Database
from services.common.errors import Aborted, FailedPrecondition, NotFound
from services.common.storage import ObjectInfo, ObjectStore
from services.ingest.dataset import State
from services.ingest.deletion import Deletion
from services.ingest.record import DatasetRecord
from services.ingest.tables import DatasetRow

_log = structlog.get_logger()

_PAGE = 100
_CHANGED = (NotFound, Aborted)
"""Somebody else deleted or changed the dataset since it was looked at."""


class Sweep:
    """Clears away, for all tenants."""

    def __init__(
        self,
        *,
        database: Database,
        store: ObjectStore,
        deletion: Deletion,
        abandoned_after: timedelta,
        grace: timedelta,
    ) -> None:
        """Keep the parts.

        Args:
            database: With the tables of `services.ingest.tables`.
            store: Where the objects are.
            deletion: The way out for datasets.
            abandoned_after: How long nothing comes to an upload before it is given up.
            grace: How old an object must be to count as left behind: nothing that is still being
                written is.
        """
        self._database = database
        self._store = store
        self._deletion = deletion
        self._abandoned_after = abandoned_after
        self._grace = grace

    def remove_expired(self) -> None:
        """Delete the datasets whose time is over; those that are in use wait."""
        for record in self._records(DatasetRow.expire_time <= datetime.now(UTC)):
            try:
                self._deletion.delete(record.tenant, record.id, etag=record.etag)
            except FailedPrecondition as error:
                _log.info("expired dataset waits", dataset=record.name, reason=error.message)
            except _CHANGED:
                continue

    def remove_abandoned(self) -> None:
        """Delete the uploads to which nothing has come for long."""
        before = datetime.now(UTC) - self._abandoned_after
        idle = self._records(DatasetRow.state == State.UPLOADING, DatasetRow.update_time < before)
        for record in idle:
            raw = self._store.list(layout.raw_prefix(record.tenant, record.id))
            # Direct uploads pass the database by: the store knows when the last part came.
            if any(info.modified >= before for info in raw):
                continue
            try:
                self._deletion.delete(record.tenant, record.id, etag=record.etag)
            except _CHANGED:
                continue
            _log.info("abandoned upload removed", tenant=record.tenant, dataset=record.id)

    def remove_orphans(self) -> None:
        """Remove the objects of datasets that are none, and what no dataset names."""
        before = datetime.now(UTC) - self._grace
        for (tenant, dataset), infos in groupby(self._objects(), key=lambda found: found[0]):
            listed = [info for _, info in infos]
            # Looked up after the objects were listed: a row comes before its first object.
            named = self._named(tenant, dataset, {info.key for info in listed})
            for info in listed:
                if info.modified < before and not info.key.startswith(named):
                    self._store.delete(info.key)
                    _log.info("orphan removed", key=info.key)

    def _objects(self) -> Iterator[tuple[tuple[str, str], ObjectInfo]]:
        """Yield the objects of all datasets, each with its tenant and dataset."""
        for info in self._store.list(""):
            owner = layout.dataset_of(info.key)
            if owner is not None:
                yield owner, info

    def _named(self, tenant: str, dataset: str, keys: set[str]) -> tuple[str, ...]:
        """Return what the keys of all objects begin with that belong to a dataset."""
        whole = (layout.dataset_prefix(tenant, dataset),)
        with self._database.read() as session:
            row = session.get(DatasetRow, (tenant, dataset))
        if row is None:
            # A manifest without a row is a dataset that the database forgot: it is no orphan.
            return whole if layout.dataset_manifest(tenant, dataset) in keys else ()
        if row.deleting or row.state in {State.UPLOADING, State.VALIDATING}:
            return whole
        return _named_by(row.record())

    def _records(self, *where: sa.ColumnElement[bool]) -> Iterator[DatasetRecord]:
        """Yield datasets, a page of them in memory at a time."""
        key = sa.tuple_(DatasetRow.tenant, DatasetRow.id)
        after = ("", "")
        while True:
            query = (
                sa.select(DatasetRow)
                .where(DatasetRow.deleting.is_(False), key > after, *where)
                .order_by(DatasetRow.tenant, DatasetRow.id)
                .limit(_PAGE)
            )
            with self._database.read() as session:
                records = [row.record() for row in session.scalars(query)]
            yield from records
            if len(records) < _PAGE:
                return
            after = (records[-1].tenant, records[-1].id)


def _named_by(record: DatasetRecord) -> tuple[str, ...]:
    """Return what a dataset consists of that is READY or FAILED."""
    files = [stored.file for stored in record.splits]
    files += [part for file in record.raw for part in file.parts]
    files += [record.findings] if record.findings is not None else []
    named = [layout.dataset_uses_prefix(record.tenant, record.id), *(file.key for file in files)]
    named.append(layout.dataset_changes(record.tenant, record.id))
    if record.state is State.READY:
        named.append(layout.dataset_manifest(record.tenant, record.id))
    return tuple(named)
