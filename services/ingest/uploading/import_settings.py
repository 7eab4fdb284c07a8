"""Which buckets may be imported from, as an operator says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, SecretStr

from services.common.storage import Reader, StoreOptions, open_reader, s3_place
from services.ingest.uploading.imports import AllowedBucket


class ImportBucketSettings(BaseModel):
    """How one bucket is reached, and by whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = ""
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    region: str = "us-east-1"
    tenants: tuple[str, ...] = ()


def open_buckets(
    buckets: Mapping[str, ImportBucketSettings], *, store: str, options: StoreOptions
) -> dict[str, AllowedBucket]:
    """Return what reads each bucket; nothing is sent yet.

    Args:
        buckets: By name.
        store: URL of the service's own store.
        options: Its credentials and time limits.

    Raises:
        ValueError: Where a bucket cannot be meant.
    """
    return {
        name: AllowedBucket(
            reader=_open(name, bucket, store, options), tenants=frozenset(bucket.tenants)
        )
        for name, bucket in buckets.items()
    }


def _open(name: str, bucket: ImportBucketSettings, store: str, options: StoreOptions) -> Reader:
    subject = f"import_buckets: {name}"
    own = s3_place(store)
    endpoint = bucket.endpoint or (own[0] if own else "")
    if not endpoint:
        raise ValueError(f"{subject} needs an endpoint, as the store is a directory")
    if own == (endpoint, name):
        raise ValueError(f"{subject} is the store itself, which holds the files of all tenants")
    if bucket.endpoint:
        options = replace(
            options,
            access_key=bucket.access_key,
            secret_key=bucket.secret_key.get_secret_value(),
            region=bucket.region,
        )
    return open_reader(name, endpoint=endpoint, options=options)
