"""The `ObjectStore` on S3 and what speaks like it. Must not know what is stored.

Uses public calls of the minio SDK only. Its `put_object` cannot send `If-None-Match`, so
`create` sends a presigned PUT with that header through the same connection pool.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import BinaryIO, cast

from minio.datatypes import Object
from minio.error import InvalidResponseError, S3Error

from services.common.errors import NotFound, Unavailable
from services.common.storage.keys import RESERVED_SEGMENT, check_key, check_prefix
from services.common.storage.object_store import (
    BeforeEnd,
    Content,
    ObjectInfo,
    SignedWrite,
    UnsuitableStore,
)
from services.common.storage.s3_connection import (
    ABSENT,
    RETRIED_STATUS,
    RETRY_AFTER_SECONDS,
    S3Account,
    as_unavailable,
    retries,
)
from services.common.storage.s3_reader import S3Reader
from services.common.storage.signing import sign

PART_BYTES = 8 * 1024 * 1024
"""Size of one part of an upload, and about half of what it needs in memory. S3 allows 10,000
parts, so the largest object has 78 GiB; its smallest part is 5 MiB."""

_PRESIGNED_SECONDS = 900
"""How long a conditional write may take with all its retries; clocks may differ by 15 minutes
before S3 refuses the signature."""

_END_BYTES = 64 << 10
"""What is held back of an object whose creation waits: it does not exist without its last byte,
and the server has the others already."""


class S3Store:
    """Objects below one prefix of one bucket.

    Args:
        account: How to reach the server.
        bucket: Made where it is missing.
        prefix: What all keys start with in the bucket: empty, or ending in a slash.
        public: The same server as clients reach it.

    Raises:
        UnsuitableStore: Where the server does not honour create-only-if-absent.
        Unavailable: Where it does not answer, or refuses the credentials.
    """

    def __init__(self, account: S3Account, *, bucket: str, prefix: str, public: S3Account) -> None:
        """Make the bucket where it is missing, and test the server."""
        self._account = account
        self._bucket = bucket
        self._prefix = prefix
        self._reserved = f"{prefix}{RESERVED_SEGMENT}/"
        self._client, self._pool = account.connect()
        self._public, _ = public.connect()
        self._reader = S3Reader(self._client, bucket, prefix)
        self._make_bucket()
        self._test_create()
        self._lists_in_order = self._test_order()

    def put(self, key: str, data: bytes | Iterable[bytes]) -> ObjectInfo:
        """Store `data` in one request, or in parts where it is longer than one part."""
        check_key(key)
        stream = _Chunks((data,) if isinstance(data, bytes) else data)
        with as_unavailable():
            try:
                result = self._client.put_object(
                    self._bucket,
                    self._prefix + key,
                    cast("BinaryIO", stream),  # the SDK calls read(size) and nothing else
                    length=-1,
                    part_size=PART_BYTES,
                    num_parallel_uploads=1,
                )
            except _SourceFailed as failed:
                raise failed.reason from None
        date = result.http_headers.get("Date") if result.http_headers else None
        modified = parsedate_to_datetime(date) if date else datetime.now(UTC)
        return ObjectInfo(key=key, size=stream.size, modified=modified)

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        """Store `data` by a PUT that the server refuses where the key exists."""
        check_key(key)
        return self._create(self._prefix + key, _HeldBack(data, before_end))

    def sign_create(self, key: str, *, size: int, seconds: int) -> SignedWrite:
        """Sign a PUT whose condition and length nobody can leave out."""
        check_key(key)
        headers = {"content-length": str(size), "if-none-match": "*"}
        now = datetime.now(UTC)
        address = self._public.get_presigned_url("PUT", self._bucket, self._prefix + key)
        url = sign(
            "PUT",
            address.partition("?")[0],
            headers=headers,
            key=self._account.signing_key,
            now=now,
            seconds=seconds,
        )
        return SignedWrite(url=url, headers=headers, expire_time=now + timedelta(seconds=seconds))

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes; a broken transfer goes on where it stopped."""
        check_key(key)
        found = self._reader.find(key)
        if found is None:
            raise NotFound(key)
        end = found.size if length is None else min(found.size, offset + length)
        yield from self._reader.read(key, offset=offset, end=end, etag=found.etag)

    def stat(self, key: str) -> ObjectInfo | None:
        """Return size and time of `key`, or None."""
        check_key(key)
        with as_unavailable():
            try:
                found = self._client.stat_object(self._bucket, self._prefix + key)
            except S3Error as error:
                if error.code in ABSENT:
                    return None
                raise
        return _info(key, found)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects in the order of their keys, a page of 1000 in memory at a time.

        From a server that lists in another order, all below `prefix` come into memory (about
        300 bytes each) to be sorted.
        """
        check_prefix(prefix)
        if self._lists_in_order:
            yield from self._list(self._prefix + prefix, start_after=start_after)
            return
        infos = [info for info in self._list(self._prefix + prefix) if info.key > start_after]
        infos.sort(key=lambda info: info.key)
        yield from infos

    def delete(self, key: str) -> None:
        """Remove the object."""
        check_key(key)
        self._delete(self._prefix + key)

    def _list(self, name: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        with as_unavailable():
            for found in self._client.list_objects(
                self._bucket,
                prefix=name,
                recursive=True,
                start_after=self._prefix + start_after if start_after else None,
            ):
                key = str(found.object_name).removeprefix(self._prefix)
                if name.startswith(self._reserved) or not key.startswith(f"{RESERVED_SEGMENT}/"):
                    yield _info(key, found)

    def _delete(self, name: str) -> None:
        with as_unavailable():
            self._client.remove_object(self._bucket, name)

    def _create(self, name: str, body: _HeldBack) -> bool:
        # When an answer is lost, the retry meets the caller's own object. A nonce tells it
        # from another's, even with the same bytes. It stands in the content type, the one
        # header that every S3 keeps and that a presigned request need not sign.
        writer = f"application/octet-stream; writer={secrets.token_hex(16)}"
        with as_unavailable():
            url = self._client.get_presigned_url(
                "PUT", self._bucket, name, expires=timedelta(seconds=_PRESIGNED_SECONDS)
            )
            response = self._pool.urlopen(
                "PUT",
                url,
                body=body,
                headers={
                    "If-None-Match": "*",
                    "Content-Type": writer,
                    "Content-Length": str(body.size),
                },
                # 409: another conditional write is under way; whether it wins is not known.
                retries=retries(RETRIED_STATUS | {HTTPStatus.CONFLICT}),
            )
            if response.status == HTTPStatus.OK:
                return True
            if response.status == HTTPStatus.PRECONDITION_FAILED:
                retried = bool(response.retries and response.retries.history)
                return retried and self._written_by(name, writer)
        passing = response.status in RETRIED_STATUS | {HTTPStatus.CONFLICT}
        advice = "retry" if passing else "see that its credentials may write"
        raise Unavailable(
            f"The object store answered {response.status} to a conditional write: {advice}.",
            metadata={"store": "s3", "status": str(response.status)},
            retry_after=RETRY_AFTER_SECONDS if passing else None,
        )

    def _written_by(self, name: str, writer: str) -> bool:
        try:
            return bool(self._client.stat_object(self._bucket, name).content_type == writer)
        except S3Error as error:
            if error.code in ABSENT:
                return False
            raise

    def _make_bucket(self) -> None:
        with as_unavailable():
            if not self._client.bucket_exists(self._bucket):
                try:
                    self._client.make_bucket(self._bucket)
                except S3Error as error:
                    # Another replica was faster.
                    if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                        raise

    def _test_create(self) -> None:
        """Refuse a server that lets the second of two creators overwrite the first."""
        name = f"{self._reserved}{secrets.token_hex(16)}"
        try:
            outcome = [self._create(name, _HeldBack(data)) for data in (b"first", b"second")]
        finally:
            self._delete(name)
        if outcome != [True, False]:
            raise UnsuitableStore(
                "The S3 server does not honour If-None-Match on a PUT, so two writers could "
                "overwrite each other: use a server that does (AWS S3, MinIO since 2023, "
                "SeaweedFS 4, Ceph 19)."
            )

    def _test_order(self) -> bool:
        """Tell whether keys come in the order of their bytes: SeaweedFS walks its folders."""
        folder = f"{self._reserved}{secrets.token_hex(16)}/"
        names = [f"{folder}a-b", f"{folder}a/c"]
        for name in names:
            self._create(name, _HeldBack(b""))
        try:
            found = [self._prefix + info.key for info in self._list(folder)]
        finally:
            for name in names:
                self._delete(name)
        return found == names


class _HeldBack:
    """The body of a request whose end waits; the pool goes through it again for each attempt."""

    def __init__(self, data: Content, before_end: BeforeEnd = None) -> None:
        given = (data,) if isinstance(data, bytes) else data
        *chunks, last = [chunk for chunk in given if chunk] or [b""]
        self.size = sum(map(len, chunks)) + len(last)
        self._chunks = chunks
        self._last = memoryview(last)
        self._before_end = before_end

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield from self._chunks
        end = max(0, len(self._last) - _END_BYTES)
        yield self._last[:end]
        if self._before_end is not None:
            self._before_end()
        yield self._last[end:]


class _SourceFailed(Exception):
    """Carries what the source of the chunks raised through the SDK, untranslated."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Chunks(io.RawIOBase):
    """Chunks as the file that the SDK reads from; counts them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.size = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, less only at the end: the SDK joins short reads one by one."""
        parts: list[memoryview] = []
        wanted = size
        while wanted > 0:
            if not self._rest:
                try:
                    chunk = next(self._chunks, None)
                except Exception as error:
                    raise _SourceFailed(error) from error
                if chunk is None:
                    break
                self._rest = memoryview(chunk)
                continue
            part, self._rest = self._rest[:wanted], self._rest[wanted:]
            parts.append(part)
            wanted -= len(part)
        content = b"".join(parts)
        self.size += len(content)
        return content


def _info(key: str, found: Object) -> ObjectInfo:
    if found.size is None or found.last_modified is None:
        raise InvalidResponseError(HTTPStatus.OK, None, None)
    return ObjectInfo(key=key, size=found.size, modified=found.last_modified)
