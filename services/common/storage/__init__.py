"""The object store: one Protocol, a directory and S3. Must not know what is stored."""

from services.common.storage.object_store import (
    CHUNK_BYTES,
    BeforeEnd,
    Content,
    FoundObject,
    ObjectInfo,
    ObjectStore,
    Presigner,
    Reader,
    SignedWrite,
    UnsuitableStore,
    read_all,
)
from services.common.storage.opening import StoreOptions, open_reader, open_store, s3_place

__all__ = [
    "CHUNK_BYTES",
    "BeforeEnd",
    "Content",
    "FoundObject",
    "ObjectInfo",
    "ObjectStore",
    "Presigner",
    "Reader",
    "SignedWrite",
    "StoreOptions",
    "UnsuitableStore",
    "open_reader",
    "open_store",
    "read_all",
    "s3_place",
]
