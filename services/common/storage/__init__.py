"""The object store: one Protocol, a directory and S3. Must not know what is stored."""

from services.common.storage.object_store import (
    CHUNK_BYTES,
    ObjectInfo,
    ObjectStore,
    UnsuitableStore,
    read_all,
)
from services.common.storage.opening import StoreOptions, open_store

__all__ = [
    "CHUNK_BYTES",
    "ObjectInfo",
    "ObjectStore",
    "StoreOptions",
    "UnsuitableStore",
    "open_store",
    "read_all",
]
