"""Finds READY datasets again after the database was lost: their manifests tell everything.

What only the database knew stays lost: uploads in progress and refused datasets.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import IntegrityError

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest
from services.common import layout
from services.common.database import Database
from services.common.errors import DataLoss, InvalidArgument, NotFound
from services.common.manifests import read_manifest
from services.common.names import Collection, parse
from services.common.storage import ObjectStore
from services.ingest import changes
from services.ingest.convert.options import options_from_proto
from services.ingest.dataset import State
from services.ingest.publish import read_published
from services.ingest.record import to_json
from services.ingest.tables import DatasetRow

_log = structlog.get_logger()

_AFTER_SLASH = "0"
"""The character after the slash: no key of a tenant comes behind it."""


def reconcile(database: Database, store: ObjectStore) -> int:
    """Give every published dataset a row that has none; return how many there were.

    Lists what lies below each tenant's datasets, with one dataset in memory at a time. A manifest
    that cannot be read is logged and left alone.

    Raises:
        Unavailable: Where the database or the store does not answer; call again.
    """
    found = 0
    for tenant in _tenants(store):
        for dataset in _published_datasets(store, tenant):
            try:
                found += _restore(database, store, tenant, dataset)
            except DataLoss as error:
                _log.error("manifest unreadable", tenant=tenant, dataset=dataset, error=str(error))
    if found:
        _log.info("datasets restored", count=found)
    return found


def _tenants(store: ObjectStore) -> Iterator[str]:
    after = ""
    while first := next(iter(store.list("", start_after=after)), None):
        tenant = first.key.partition("/")[0]
        if tenant != layout.SHARED:
            yield tenant
        after = f"{tenant}{_AFTER_SLASH}"


def _published_datasets(store: ObjectStore, tenant: str) -> Iterator[str]:
    """Yield the ids of the datasets that have a manifest."""
    prefix = layout.datasets_prefix(tenant)
    for info in store.list(prefix):
        dataset = info.key.removeprefix(prefix).partition("/")[0]
        if info.key == layout.dataset_manifest(tenant, dataset) and _is_id(dataset):
            yield dataset


def _restore(database: Database, store: ObjectStore, tenant: str, dataset: str) -> bool:
    """Make a row of a manifest; tell whether there was none."""
    # In this order: a deletion removes the manifest before the row, so whoever finds no row and
    # then a manifest has found a dataset that nobody deletes.
    with database.read() as session:
        if session.get(DatasetRow, (tenant, dataset)) is not None:
            return False
    key = layout.dataset_manifest(tenant, dataset)
    try:
        manifest = read_manifest(store, key, DatasetManifest)
        name, expire_time = changes.kept(store, tenant, dataset) or _as_published(manifest)
    except NotFound:
        return False
    try:
        with database.write() as session:
            session.add(_row(tenant, dataset, manifest, name=name, expire_time=expire_time))
    except IntegrityError:
        # Another process was faster.
        return False
    if store.stat(key) is None:
        # Restored by another process and deleted by a caller, all since this one looked.
        with database.write() as session:
            row = session.get(DatasetRow, (tenant, dataset))
            if row is not None:
                session.delete(row)
        return False
    return True


def _as_published(manifest: DatasetManifest) -> tuple[str, datetime | None]:
    ends = manifest.HasField("expire_time")
    return manifest.display_name, manifest.expire_time.ToDatetime(tzinfo=UTC) if ends else None


def _row(
    tenant: str,
    dataset: str,
    manifest: DatasetManifest,
    *,
    name: str,
    expire_time: datetime | None,
) -> DatasetRow:
    published = read_published(manifest)
    return DatasetRow(
        tenant=tenant,
        id=dataset,
        display_name=name,
        search_name=name.casefold(),
        expire_time=expire_time,
        state=State.READY,
        options=to_json(options_from_proto(manifest.options)),
        create_time=manifest.create_time.ToDatetime(tzinfo=UTC),
        update_time=published.validate_time,
        parent=manifest.parent_dataset.rpartition("/")[2],
        fraction=1.0,
        **published.columns(),
    )


def _is_id(text: str) -> bool:
    try:
        parse(f"{Collection.DATASETS}/{text}", Collection.DATASETS)
    except InvalidArgument:
        return False
    return True
