"""Whether a dataset takes bytes, as its row says: uploads meet finalisation and deletion here.

Counts the bytes that it takes, so that nobody has to list the store to know them.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from services.common.database import Database
from services.common.errors import FailedPrecondition, NotFound
from services.common.names import Collection, ResourceName
from services.ingest.dataset import Split, State
from services.ingest.record import DatasetRecord, DeclaredFile
from services.ingest.tables import DatasetRow
from services.ingest.uploading.quotas import Quotas


class RowGate:
    """Whether one file of one dataset still takes bytes, and from whom."""

    def __init__(
        self,
        database: Database,
        quotas: Quotas,
        tenant: str,
        dataset: str,
        split: Split,
        *,
        importing: bool = False,
    ) -> None:
        """Keep which file.

        Args:
            database: Where its row is.
            quotas: What its tenant may store.
            tenant: Whose dataset.
            dataset: Its id.
            split: Which of its files.
            importing: Whether the bytes come from the sources of an import, and not from a caller.
        """
        self._database = database
        self._quotas = quotas
        self._key = (tenant, dataset)
        self._split = split
        self._importing = importing

    def check_open(self, size: int = 0) -> None:
        """Look at the row as it is, and whether `size` more bytes may be stored."""
        with self._database.read() as session:
            record = find_row(session, *self._key).record()
            if record.state is not State.UPLOADING:
                raise _closed(record)
            if record.sources and not self._importing:
                raise still_importing(record)
            if size:
                self._quotas.check_bytes(session, record.tenant, size)

    def check_kept(self, end: int, size: int) -> None:
        """Look at the row in turn with whoever changes it."""
        # A write takes its turn with finalisation and deletion: whichever comes second sees what
        # the other did.
        with self._database.write() as session:
            row = find_row(session, *self._key, lock=True)
            record = row.record()
            if record.state is State.UPLOADING:
                row.stored_bytes += size
                return
        counted = record.declared.get(self._split, DeclaredFile(size_bytes=0)).size_bytes
        if record.state is not State.VALIDATING or end > counted:
            raise _closed(record)


def find_row(session: Session, tenant: str, dataset: str, *, lock: bool = False) -> DatasetRow:
    """Return the row of a dataset that callers may see.

    Args:
        session: Where to look.
        tenant: Whose.
        dataset: Its id.
        lock: Wait for whoever changes it (PostgreSQL; on SQLite a write session does).

    Raises:
        NotFound: Where there is none, or it is being deleted.
    """
    row = session.get(DatasetRow, (tenant, dataset), with_for_update=lock)
    if row is None or row.deleting:
        raise NotFound(
            str(ResourceName(collection=Collection.DATASETS, id=dataset)),
            hint="`isogloss datasets list` shows what there is.",
        )
    return row


def still_importing(record: DatasetRecord) -> FailedPrecondition:
    """Return the refusal of bytes and finalisation while a dataset is imported."""
    return FailedPrecondition(
        f"{record.name} is being imported and goes on by itself: watch it, or delete it.",
        metadata={"name": record.name, "state": record.state},
    )


def _closed(record: DatasetRecord) -> FailedPrecondition:
    return FailedPrecondition(
        f"{record.name} is {record.state}: its files cannot be changed any more. Create another "
        "dataset.",
        metadata={"name": record.name, "state": record.state},
    )
