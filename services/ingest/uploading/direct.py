"""Lets callers send the bytes of a file straight into the object store, a signed part at a time.

A part that was signed and not sent is nothing; one that is sent after its dataset was finalised or
deleted is never read, and swept.
"""

from __future__ import annotations

from services.common import layout
from services.common.database import Database
from services.common.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    OutOfRange,
    Reason,
)
from services.common.storage import ObjectStore, Presigner, SignedWrite
from services.ingest.dataset import Split
from services.ingest.uploading.gate import RowGate
from services.ingest.uploading.quotas import Quotas
from services.ingest.uploading.uploads import Uploads

MAX_BYTES = 5 << 30
"""S3's limit on one PUT."""


class DirectUploads:
    """Signs parts of uploads. Thread safe."""

    def __init__(
        self,
        *,
        database: Database,
        store: ObjectStore,
        uploads: Uploads,
        quotas: Quotas,
        seconds: int,
    ) -> None:
        """Keep the parts.

        Args:
            database: With the tables of `services.ingest.tables`.
            store: Where the bytes go; one that cannot sign refuses every call.
            uploads: What is there already.
            quotas: What a tenant may store.
            seconds: How long an address works.
        """
        self._database = database
        self._presigner = store if isinstance(store, Presigner) else None
        self._uploads = uploads
        self._quotas = quotas
        self._seconds = seconds

    def sign(
        self, tenant: str, dataset: str, split: Split, *, offset: int, size: int
    ) -> SignedWrite:
        """Return the request that stores the next part of a file.

        Args:
            tenant: Whose dataset.
            dataset: Its id.
            split: Which of its files.
            offset: Where the part begins: the file's committed size.
            size: Its bytes, 1 to `MAX_BYTES`.

        Raises:
            InvalidArgument: Where the size is out of range.
            FailedPrecondition: Where the store cannot sign, or the dataset takes no bytes.
            OutOfRange: Where the file does not go on at `offset`; names where it does.
            ResourceExhausted: Where a limit or a quota is reached.
            NotFound: Where there is no such dataset.
        """
        if not 0 < size <= MAX_BYTES:
            raise InvalidArgument(
                FieldViolation(
                    field="size_bytes",
                    description=f"{size} is not 1 to {MAX_BYTES}: send larger files in parts.",
                )
            )
        RowGate(self._database, self._quotas, tenant, dataset, split).check_open(size)
        if self._presigner is None:
            raise FailedPrecondition(
                "The object store of this server is a directory, which takes no uploads of "
                "others: use WriteDataset.",
                reason=Reason.STORE_UNSUITABLE,
            )
        sizes = self._uploads.sizes(tenant, dataset)
        committed = sizes.get(split, 0)
        if offset != committed:
            raise OutOfRange(
                f"The {split} file goes on at byte {committed}, not at {offset}: ask for an "
                "address there.",
                metadata={"committed_size": str(committed), "split": str(split)},
            )
        self._uploads.limits.check({**sizes, split: committed + size})
        key = layout.raw_chunk(tenant, dataset, split, offset)
        return self._presigner.sign_create(key, size=size, seconds=self._seconds)
