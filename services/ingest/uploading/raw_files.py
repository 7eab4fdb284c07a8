"""The uploaded files that a dataset keeps: which parts they are, with the sum of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from services.common.errors import DataLoss
from services.common.storage import ObjectStore
from services.ingest.dataset import FileReport, Split
from services.ingest.record import DatasetRecord, RawFile, StoredFile
from services.ingest.uploading.uploads import Uploads


def raw_files(
    store: ObjectStore,
    uploads: Uploads,
    record: DatasetRecord,
    reports: tuple[FileReport, ...],
    check: Callable[[], None],
) -> tuple[RawFile, ...]:
    """Read the uploaded files once more, for the sum of each part.

    Args:
        store: Where the parts lie.
        uploads: Knows which they are.
        record: The dataset.
        reports: How each file was read.
        check: Called between reads; what it raises ends them.

    Raises:
        DataLoss: Where they are not what was read before.
    """
    return tuple(
        RawFile(split=file.split, parts=_parts(store, uploads, record, file, check))
        for file in reports
    )


def _parts(
    store: ObjectStore,
    uploads: Uploads,
    record: DatasetRecord,
    file: FileReport,
    check: Callable[[], None],
) -> tuple[StoredFile, ...]:
    whole = hashlib.sha256()
    parts: list[StoredFile] = []
    left = file.size_bytes
    for key, size in uploads.parts(record.tenant, record.id, Split(file.split)):
        if left <= 0:
            # Stored after finalisation, and about to be removed by who stored it.
            break
        left -= size
        digest = hashlib.sha256()
        for chunk in store.get(key):
            check()
            digest.update(chunk)
            whole.update(chunk)
        parts.append(StoredFile(key=key, size=size, sha256=digest.hexdigest()))
    if whole.hexdigest() != file.sha256:
        raise DataLoss(f"The {file.split} file changed in the store while it was validated.")
    return tuple(parts)
