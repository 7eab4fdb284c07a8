"""Deletes datasets, whole, whatever cuts a deletion short; keeps those that are still needed.

Trainers leave a mark at each dataset that a model learns from. A mark outlives a training that
succeeds: the model may keep copies of texts, which `purge` removes.
"""

from __future__ import annotations

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from services.common import layout
from services.common.database import Database
from services.common.errors import FailedPrecondition, Reason
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectStore
from services.ingest.dataset import State
from services.ingest.record import DatasetRecord
from services.ingest.registry import check_etag
from services.ingest.tables import DatasetRow
from services.ingest.uploading.gate import find_row

_log = structlog.get_logger()

_MAX_NAMED = 20
"""Models or datasets that an error names."""

_AT_ONCE = 100
"""Deletions that are taken up in one go."""


class Deletion:
    """The way out for datasets of all tenants. Thread safe."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        """Keep the parts."""
        self._database = database
        self._store = store

    def delete(self, tenant: str, dataset: str, *, purge: bool = False, etag: str = "") -> None:
        """Delete a dataset and all that is stored of it.

        Args:
            tenant: Whose.
            dataset: Its id.
            purge: Delete it although finished models use it, and what they copied of it.
            etag: What the dataset must have; empty takes it as it is.

        Raises:
            NotFound: Where there is no such dataset.
            FailedPrecondition: Where models use it, or datasets that begin with its rows wait for
                them; names them.
            Aborted: Where it is not as the caller saw it.
        """
        with self._database.read() as session:
            record = find_row(session, tenant, dataset).record()
        check_etag(record, etag)
        models = self._models(tenant, dataset)
        if models and not purge:
            raise _in_use(
                record,
                models,
                "uses it: delete that model first, or purge the dataset",
                "use it: delete those models first, or purge the dataset",
            )
        if unfinished := [model for model in models if not self._has_ended(tenant, model)]:
            raise _in_use(
                record,
                unfinished,
                "is not READY: wait for it if it is being trained, else delete it first",
                "are not READY: wait for those that are being trained, delete the others first",
            )
        # From here on it is gone for every caller, and whoever validates it has lost its lease;
        # if this process dies, `finish` does the rest.
        with self._database.write() as session:
            check_etag(find_row(session, tenant, dataset, lock=True).record(), etag)
            _check_unread(session, tenant, dataset)
            session.execute(
                sa.update(DatasetRow)
                .where(DatasetRow.tenant == tenant, DatasetRow.id == dataset)
                .values(deleting=True, token=DatasetRow.token + 1, lease_until=None)
            )
        self._remove(tenant, dataset)

    def finish(self) -> None:
        """Go on with deletions that a crash has cut short."""
        with self._database.read() as session:
            rows = session.scalars(
                sa.select(DatasetRow).where(DatasetRow.deleting.is_(True)).limit(_AT_ONCE)
            ).all()
        for row in rows:
            self._remove(row.tenant, row.id)

    def _models(self, tenant: str, dataset: str) -> list[str]:
        """Return the ids of the models that left a mark."""
        prefix = layout.dataset_uses_prefix(tenant, dataset)
        return [info.key.removeprefix(prefix) for info in self._store.list(prefix)]

    def _has_ended(self, tenant: str, model: str) -> bool:
        """Tell whether a model is READY or gone; one that ended otherwise took its mark back."""
        if self._store.stat(layout.model_manifest(tenant, model)) is not None:
            return True
        return self._store.stat(layout.model_pending(tenant, model)) is None

    def _remove(self, tenant: str, dataset: str) -> None:
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
        _log.info("dataset deleted", tenant=tenant, dataset=dataset)

    def _remove_objects(self, tenant: str, dataset: str) -> None:
        # The manifest first: without it, nothing else is part of a dataset. The marks last: they
        # alone tell which models have copies, should this be cut short.
        self._store.delete(layout.dataset_manifest(tenant, dataset))
        for model in self._models(tenant, dataset):
            self._delete_all(layout.model_examples_prefix(tenant, model))
        marks = layout.dataset_uses_prefix(tenant, dataset)
        self._delete_all(layout.dataset_prefix(tenant, dataset), but=marks)
        self._delete_all(marks)

    def _delete_all(self, prefix: str, *, but: str | None = None) -> None:
        for info in list(self._store.list(prefix)):
            if but is None or not info.key.startswith(but):
                self._store.delete(info.key)


def _in_use(record: DatasetRecord, models: list[str], one: str, several: str) -> FailedPrecondition:
    names = [str(ResourceName(collection=Collection.MODELS, id=model)) for model in models]
    named = names[:_MAX_NAMED]
    more = f" and {len(names) - len(named)} more" if len(names) > len(named) else ""
    return FailedPrecondition(
        f"{record.name} is used: {', '.join(named)}{more} {one if len(names) == 1 else several}.",
        reason=Reason.DATASET_IN_USE,
        metadata={"name": record.name, "models": ",".join(named)},
        subjects=named,
    )


def _check_unread(session: Session, tenant: str, dataset: str) -> None:
    """Make sure that no dataset still needs to read the rows of this one.

    Raises:
        FailedPrecondition: Naming those that do.
    """
    children = [
        str(ResourceName(collection=Collection.DATASETS, id=child))
        for child in session.scalars(
            sa.select(DatasetRow.id)
            .where(
                DatasetRow.tenant == tenant,
                DatasetRow.parent == dataset,
                DatasetRow.state.in_((State.UPLOADING, State.VALIDATING)),
                DatasetRow.deleting.is_(False),
            )
            .order_by(DatasetRow.id)
            .limit(_MAX_NAMED)
        )
    ]
    if children:
        name = str(ResourceName(collection=Collection.DATASETS, id=dataset))
        raise FailedPrecondition(
            f"{', '.join(children)} will begin with the rows of {name}: finalise it and wait, or "
            "delete it first.",
            reason=Reason.DATASET_IN_USE,
            metadata={"name": name, "datasets": ",".join(children)},
            subjects=children,
        )
