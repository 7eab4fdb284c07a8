"""From a URL to a store. The one place that knows both implementations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from services.common.storage.directory import DirectoryStore
from services.common.storage.object_store import ObjectStore, Reader
from services.common.storage.s3 import S3Store
from services.common.storage.s3_connection import S3Account
from services.common.storage.s3_reader import S3Reader

_AMAZON = "https://s3.amazonaws.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What a store needs beside its URL; a directory needs none of it."""

    access_key: str = ""
    """Identifies the account at an S3 server."""

    secret_key: str = field(default="", repr=False)
    """Signs the requests to an S3 server."""

    region: str = "us-east-1"
    """The bucket's; servers other than Amazon's mostly take the default."""

    connect_timeout: float = 5.0
    """Seconds for one connection to be made."""

    read_timeout: float = 60.0
    """Seconds without a byte after which an answer counts as lost."""

    public_endpoint: str = ""
    """`https://host:port` at which clients reach the S3 server; empty where it is the URL's."""


_DEFAULTS = StoreOptions()


def open_store(url: str, options: StoreOptions = _DEFAULTS) -> ObjectStore:
    """Open the store at `url` and see that it keeps its promises.

    Args:
        url: A directory (`/var/lib/isogloss` or `file:///var/lib/isogloss`), or a bucket and a
            prefix (`s3://bucket/prefix?endpoint=https://minio:9000`; without the endpoint,
            Amazon's).
        options: Credentials and time limits of S3.

    Raises:
        ValueError: Where the URL or the credentials cannot be meant.
        UnsuitableStore: Where the store cannot create an object only if it is absent.
        Unavailable: Where it does not answer.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _open_s3(url, options)
    if parts.scheme == "file":
        if parts.netloc:
            raise ValueError(f"{url}: a file URL has three slashes, as in file:///var/lib/isogloss")
        return DirectoryStore(Path(unquote(parts.path)))
    if "://" in url:
        raise ValueError(f"{url}: a store is a directory, file:///directory or s3://bucket/prefix")
    return DirectoryStore(Path(url))


def s3_place(url: str) -> tuple[str, str] | None:
    """Return endpoint and bucket of an S3 store's URL; None where it is a directory's."""
    parts = urlsplit(url)
    if parts.scheme != "s3":
        return None
    return parse_qs(parts.query).get("endpoint", [_AMAZON])[0], parts.netloc


def open_reader(bucket: str, *, endpoint: str, options: StoreOptions) -> Reader:
    """Return what reads a bucket; nothing is sent yet.

    Args:
        bucket: Whose name is known, and which may be missing.
        endpoint: `http://host:port` or `https://host:port`; empty for Amazon's.
        options: Credentials and time limits.

    Raises:
        ValueError: Where the endpoint or the credentials cannot be meant.
    """
    client, _ = _account(bucket, endpoint or _AMAZON, options).connect()
    return S3Reader(client, bucket)


def _open_s3(url: str, options: StoreOptions) -> ObjectStore:
    parts = urlsplit(url)
    query = parse_qs(parts.query, strict_parsing=bool(parts.query))
    endpoints = query.pop("endpoint", [_AMAZON])
    if query or len(endpoints) != 1 or not parts.netloc:
        raise ValueError(f"{url}: expected s3://bucket/prefix?endpoint=https://host:port")
    account = _account(url, endpoints[0], options)
    public = _account(url, options.public_endpoint or endpoints[0], options)
    prefix = unquote(parts.path).strip("/")
    return S3Store(
        account, bucket=parts.netloc, prefix=f"{prefix}/" if prefix else "", public=public
    )


def _account(subject: str, endpoint: str, options: StoreOptions) -> S3Account:
    """Return how to reach a server.

    Args:
        subject: What a complaint begins with.
        endpoint: `http://host:port` or `https://host:port`.
        options: Credentials and time limits.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
        raise ValueError(f"{subject}: the endpoint must be http://host:port or https://host:port")
    if not options.access_key or not options.secret_key:
        raise ValueError(f"{subject}: an S3 store needs store_access_key and store_secret_key")
    return S3Account(
        endpoint=parts.netloc,
        secure=parts.scheme == "https",
        access_key=options.access_key,
        secret_key=options.secret_key,
        region=options.region,
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
    )
