"""What a tenant stores, as the database knows it: no look into the store."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.ingest.dataset import State
from services.ingest.tables import DatasetRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one tenant stores."""

    dataset_count: int
    upload_count: int
    """Datasets that are uploaded to."""

    stored_bytes: int
    """Of all datasets, uploads in progress included."""

    row_count: int
    """Of all READY datasets."""


def usage_of(session: Session, tenant: str) -> Usage:
    """Count what a tenant stores; what is being deleted counts no more."""
    uploading = sa.case((DatasetRow.state == State.UPLOADING, 1), else_=0)
    query = sa.select(
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(uploading), 0),
        sa.func.coalesce(sa.func.sum(DatasetRow.stored_bytes), 0),
        sa.func.coalesce(sa.func.sum(DatasetRow.row_count), 0),
    ).where(DatasetRow.tenant == tenant, DatasetRow.deleting.is_(False))
    datasets, uploads, stored_bytes, rows = session.execute(query).one()
    return Usage(
        dataset_count=datasets,
        upload_count=uploads,
        # PostgreSQL's sums of such integers are decimal numbers.
        stored_bytes=int(stored_bytes),
        row_count=int(rows),
    )
