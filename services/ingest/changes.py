"""What of a dataset may change after it was published: kept beside its manifest, which may not.

The database holds the same and is asked; this is what is left where the database was lost.
"""

from __future__ import annotations

from datetime import UTC, datetime

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetChanges
from services.common import layout
from services.common.errors import NotFound
from services.common.manifests import FORMAT_VERSION, read_manifest, replace_manifest
from services.common.storage import ObjectStore
from services.ingest.convert.datasets import time_to_proto
from services.ingest.record import DatasetRecord


def keep(store: ObjectStore, record: DatasetRecord) -> None:
    """Store what a dataset is called now and when it ends."""
    changes = DatasetChanges(
        format_version=FORMAT_VERSION,
        display_name=record.display_name,
        expire_time=time_to_proto(record.expire_time) if record.expire_time else None,
    )
    replace_manifest(store, layout.dataset_changes(record.tenant, record.id), changes)


def kept(store: ObjectStore, tenant: str, dataset: str) -> tuple[str, datetime | None] | None:
    """Return the display name and the end that a dataset was given last; None where it never was.

    Raises:
        DataLoss: Where they cannot be read.
    """
    try:
        changes = read_manifest(store, layout.dataset_changes(tenant, dataset), DatasetChanges)
    except NotFound:
        return None
    ends = changes.HasField("expire_time")
    return changes.display_name, changes.expire_time.ToDatetime(tzinfo=UTC) if ends else None
