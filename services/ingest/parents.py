"""Brings the rows of the dataset that another one begins with to where they are validated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from services.common.database import Database
from services.common.manifests import fetch
from services.common.storage import ObjectStore
from services.ingest.checks.rulebook import Parent
from services.ingest.convert.datasets import file_to_proto
from services.ingest.dataset import Split, State
from services.ingest.record import DatasetRecord
from services.ingest.tables import DatasetRow


class ParentMissing(Exception):
    """The dataset that another one begins with is gone: only a lost database lets that happen."""


def fetch_parent(
    database: Database,
    store: ObjectStore,
    record: DatasetRecord,
    directory: Path,
    check: Callable[[], None],
) -> Parent | None:
    """Bring the parent's rows, verified; None where a dataset has no parent.

    Args:
        database: Knows the parent.
        store: Where its files lie.
        record: The dataset that begins with its rows.
        directory: Where they are put.
        check: Called between files; what it raises ends it.

    Raises:
        ParentMissing: Where there is none any more.
        DataLoss: Where its files are not what was published.
    """
    if not record.parent:
        return None
    with database.read() as session:
        row = session.get(DatasetRow, (record.tenant, record.parent))
    if row is None or row.deleting or row.state != State.READY:
        raise ParentMissing
    parent = row.record()
    paths: dict[Split, Path] = {}
    for stored in parent.splits:
        check()
        paths[stored.split] = directory / f"parent.{stored.split}.parquet"
        fetch(store, file_to_proto(stored.file), paths[stored.split])
    return Parent(
        name=parent.name,
        content_hash=parent.content_hash,
        multi_label=parent.report is not None and parent.report.multi_label,
        given=_given(parent),
        splits=paths,
    )


def _given(parent: DatasetRecord) -> frozenset[Split]:
    """Return the splits that were not dealt out."""
    if parent.report is None or parent.report.dealt is None:
        return frozenset(Split)
    return parent.report.dealt.given
