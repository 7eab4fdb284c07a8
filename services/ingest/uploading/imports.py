"""Imports of files in buckets that the operator allowed: looked at here, copied by an importer."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.common.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    Reason,
    Unavailable,
)
from services.common.storage import FoundObject, Reader
from services.ingest.creation import Creation, NewDataset
from services.ingest.dataset import Split
from services.ingest.record import DatasetRecord, SourceFile
from services.ingest.uploading.limits import UploadLimits

_SCHEME = "s3://"
_MAX_KEY_BYTES = 1024
"""S3's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedBucket:
    """A bucket that may be imported from."""

    reader: Reader
    tenants: frozenset[str] = frozenset()
    """Who may; empty lets everybody."""


class Imports:
    """Creates datasets of files that lie elsewhere. Thread safe."""

    def __init__(
        self, creation: Creation, buckets: Mapping[str, AllowedBucket], limits: UploadLimits
    ) -> None:
        """Keep the parts.

        Args:
            creation: Makes the datasets.
            buckets: What may be imported from, by name.
            limits: How large files may be.
        """
        self._creation = creation
        self._buckets = buckets
        self._limits = limits

    def create(
        self,
        tenant: str,
        wanted: NewDataset,
        sources: Sequence[tuple[Split, str]],
        *,
        request_id: str = "",
    ) -> DatasetRecord:
        """Create a dataset whose files are copied in the background, then validated.

        Args:
            tenant: Whose.
            wanted: What to create.
            sources: Which file each becomes, and where it lies: `s3://bucket/key`.
            request_id: Makes the call safe to repeat; may be empty.

        Raises:
            InvalidArgument: Naming every field that is wrong, files that are not there included.
            FailedPrecondition: Where a bucket is not allowed.
            ResourceExhausted: Where the files are larger than a limit or a quota.
            AlreadyExists: Where the request id was used for another request.
            Unavailable: Where a bucket's server does not answer.
        """
        places = _places(sources)
        for bucket, _ in places.values():
            self._check_allowed(tenant, bucket)
        uris = {split: f"{_SCHEME}{bucket}/{key}" for split, (bucket, key) in places.items()}
        # First of all: the files may have changed since the same call was answered.
        before = self._creation.imported(tenant, wanted, uris, request_id=request_id)
        if before is not None:
            return before
        files = self._found(places)
        self._limits.check({split: file.size for split, file in files.items()})
        return self._creation.create_import(tenant, wanted, files, request_id=request_id)

    def _check_allowed(self, tenant: str, bucket: str) -> None:
        allowed = sorted(
            name
            for name, found in self._buckets.items()
            if not found.tenants or tenant in found.tenants
        )
        if bucket not in allowed:
            known = f"only from {', '.join(allowed)}" if allowed else "from none yet"
            raise FailedPrecondition(
                f"The bucket {bucket} is not one that you may import from ({known}): upload the "
                "file, or ask the operator to allow it (import_buckets).",
                reason=Reason.STORE_UNSUITABLE,
                metadata={"bucket": bucket},
            )

    def _found(self, places: Mapping[Split, tuple[str, str]]) -> dict[Split, SourceFile]:
        """Look at each file as it is now."""
        violations: list[FieldViolation] = []
        files: dict[Split, SourceFile] = {}
        for position, (split, (bucket, key)) in enumerate(places.items()):
            found, missing = _look(self._buckets[bucket].reader, key)
            if found is None:
                violations.append(
                    _violation(position, f"{_SCHEME}{bucket}/{key} cannot be read: {missing}.")
                )
            else:
                files[split] = SourceFile(bucket=bucket, key=key, size=found.size, etag=found.etag)
        if violations:
            raise InvalidArgument(violations)
        return files


def _look(reader: Reader, key: str) -> tuple[FoundObject | None, str]:
    """Return what a file is, or why it is nothing."""
    try:
        found = reader.find(key)
    except Unavailable as error:
        # A code is the answer of a server that does not want to: no retry changes its mind.
        if code := error.metadata.get("code"):
            return None, f"its server says {code}"
        raise
    if found is None:
        return None, "there is no such file"
    return (found, "") if found.size else (None, "it is empty")


def _places(sources: Sequence[tuple[Split, str]]) -> dict[Split, tuple[str, str]]:
    """Return bucket and key of each file.

    Raises:
        InvalidArgument: Naming every source that is wrong.
    """
    places: dict[Split, tuple[str, str]] = {}
    violations: list[FieldViolation] = []
    for position, (split, uri) in enumerate(sources):
        bucket, _, key = uri.removeprefix(_SCHEME).partition("/")
        if not uri.startswith(_SCHEME) or not bucket or not _is_key(key):
            violations.append(_violation(position, f"{uri[:200]!r} is not s3://bucket/key."))
        elif split in places:
            violations.append(_violation(position, f"is a second {split} file: join them first."))
        else:
            places[split] = (bucket, key)
    if not violations and Split.TRAIN not in places:
        violations.append(
            FieldViolation(
                field="sources", description="names no training file: add one with SPLIT_TRAIN."
            )
        )
    if violations:
        raise InvalidArgument(violations)
    return places


def _is_key(key: str) -> bool:
    printable = not any(unicodedata.category(character) in {"Cc", "Cs"} for character in key)
    return bool(key) and printable and len(key.encode(errors="replace")) <= _MAX_KEY_BYTES


def _violation(position: int, description: str) -> FieldViolation:
    return FieldViolation(field=f"sources[{position}].uri", description=description)
