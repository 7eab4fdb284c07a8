"""Manifests and the files they name: JSON of `isogloss.storage.v1`, verified by sha256.

Knows what every manifest shares (`format_version`), not what one says.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from isogloss.storage.v1.stored_file_pb2 import StoredFile
from services.common.errors import DataLoss, NotFound
from services.common.storage import CHUNK_BYTES, ObjectStore, read_all

FORMAT_VERSION = 1
"""What this release writes, and the only one that it reads."""

_MAX_MANIFEST_BYTES = 64 * 1024 * 1024
"""A manifest names files and labels: 100,000 labels of 100 bytes, with counts for three splits,
are 50 MB. What is larger is none."""

M = TypeVar("M", bound=Message)


def read_manifest(store: ObjectStore, key: str, kind: type[M]) -> M:
    """Read a manifest.

    Fields that this release does not know are ignored: adding one is no new format.

    Raises:
        NotFound: Where there is none: nothing was published.
        DataLoss: Where it cannot be read, or is of a format that this release does not know.
    """
    return parse_manifest(read_document(store, key), key, kind)


def read_document(store: ObjectStore, key: str) -> bytes:
    """Read what a manifest's key holds, whatever it is.

    Raises:
        NotFound: Where there is nothing.
        DataLoss: Where it is larger than any manifest.
    """
    try:
        return read_all(store, key, limit=_MAX_MANIFEST_BYTES)
    except ValueError as error:
        raise _unreadable(key) from error


def parse_manifest(content: bytes, key: str, kind: type[M]) -> M:
    """Return the manifest that `content` is; `key` names it in errors.

    Raises:
        DataLoss: As `read_manifest`.
    """
    try:
        manifest = json_format.Parse(content, kind(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, ValueError) as error:
        raise _unreadable(key) from error
    version = int(getattr(manifest, "format_version", 0))
    if version != FORMAT_VERSION:
        raise DataLoss(
            f"The manifest {key} has format {version} and this release reads {FORMAT_VERSION}: "
            "run the release that wrote it, or a later one.",
            metadata={"key": key, "format_version": str(version)},
        )
    return manifest


def create_manifest(store: ObjectStore, key: str, manifest: Message) -> bool:
    """Publish a manifest, unless another attempt did.

    Args:
        store: Where to.
        key: The commit point.
        manifest: With `format_version` set, and every file that it names already stored.

    Returns:
        Whether this call published it.

    Raises:
        ValueError: Where `format_version` is not the one that this release writes.
    """
    return store.create(key, _json(manifest))


def replace_manifest(store: ObjectStore, key: str, manifest: Message) -> None:
    """Write a manifest that may change, as no commit point may.

    Raises:
        ValueError: As `create_manifest`.
    """
    store.put(key, _json(manifest))


def _json(manifest: Message) -> bytes:
    if getattr(manifest, "format_version", 0) != FORMAT_VERSION:
        raise ValueError(f"a manifest must have format_version {FORMAT_VERSION}")
    content = json_format.MessageToJson(
        manifest, preserving_proto_field_name=True, ensure_ascii=False
    )
    return f"{content}\n".encode()


def upload(store: ObjectStore, key: str, path: Path) -> StoredFile:
    """Store a local file, streamed, and say what was stored."""
    with path.open("rb") as file:
        return upload_chunks(store, key, iter(partial(file.read, CHUNK_BYTES), b""))


def upload_chunks(store: ObjectStore, key: str, chunks: Iterable[bytes]) -> StoredFile:
    """Store a file that comes in pieces, and say what was stored."""
    digest = hashlib.sha256()

    def summed() -> Iterator[bytes]:
        for chunk in chunks:
            digest.update(chunk)
            yield chunk

    info = store.put(key, summed())
    return StoredFile(key=key, size=info.size, sha256=digest.hexdigest())


def fetch(store: ObjectStore, file: StoredFile, path: Path) -> None:
    """Bring a stored file to this machine; it appears at `path` whole and verified, or not.

    Args:
        store: Where from.
        file: What a manifest says of it.
        path: Where to; its folder is made where it is missing, a file there is replaced.

    Raises:
        DataLoss: Where it is absent, or not what the manifest says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as target:
            for chunk in verified(store, file):
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def verified(store: ObjectStore, file: StoredFile) -> Iterator[bytes]:
    """Yield a stored file's bytes; trust them only after the last step did not raise.

    Raises:
        DataLoss: As `fetch`.
    """
    digest = hashlib.sha256()
    size = 0
    try:
        for chunk in store.get(file.key):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
    except NotFound:
        raise _loss(file, "is missing") from None
    if size != file.size:
        raise _loss(file, f"has {size} bytes instead of {file.size}")
    if digest.hexdigest() != file.sha256:
        raise _loss(file, "has another sha256 than its manifest says")


def _unreadable(key: str) -> DataLoss:
    return DataLoss(
        f"The manifest {key} cannot be read: restore it from a backup, or delete and make "
        "again what it describes.",
        metadata={"key": key},
    )


def _loss(file: StoredFile, found: str) -> DataLoss:
    return DataLoss(
        f"The stored file {file.key} {found}: restore it from a backup, or delete and make "
        "again what it belongs to.",
        metadata={"key": file.key},
    )
