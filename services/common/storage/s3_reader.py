"""Reads objects of a bucket, one version of each from end to end. Must not know what they are."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from minio import Minio
from minio.error import InvalidResponseError, S3Error
from urllib3.exceptions import HTTPError, IncompleteRead, MaxRetryError

from services.common.errors import NotFound
from services.common.storage.object_store import CHUNK_BYTES, FoundObject
from services.common.storage.s3_connection import ABSENT, as_unavailable, unavailable

_READ_BREAKS = 4
"""Broken transfers of one object before its reader is told."""


class S3Reader:
    """Objects below one prefix of one bucket, which must exist."""

    def __init__(self, client: Minio, bucket: str, prefix: str = "") -> None:
        """Keep where they are."""
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def find(self, key: str) -> FoundObject | None:
        """Return size and ETag of `key`, or None."""
        with as_unavailable():
            try:
                found = self._client.stat_object(self._bucket, self._prefix + key)
            except S3Error as error:
                if error.code in ABSENT:
                    return None
                raise
            if found.size is None or not found.etag:
                raise InvalidResponseError(HTTPStatus.OK, None, None)
        return FoundObject(size=found.size, etag=found.etag)

    def read(self, key: str, *, offset: int, end: int, etag: str) -> Iterator[bytes]:
        """Yield the bytes from `offset` up to `end`; a broken transfer goes on where it broke."""
        breaks = 0
        while offset < end:
            try:
                for chunk in self._transfer(key, offset, end - offset, etag):
                    offset += len(chunk)
                    yield chunk
                if offset < end:
                    raise IncompleteRead(offset, end - offset)
            except (HTTPError, S3Error) as error:
                breaks += 1
                if isinstance(error, S3Error) and error.code in ABSENT | {"PreconditionFailed"}:
                    # Deleted or replaced while it was read: what came so far cannot go on.
                    raise NotFound(key, hint="It was removed while it was read.") from error
                # What the pool gave up on was retried already.
                if breaks > _READ_BREAKS or isinstance(error, (MaxRetryError, S3Error)):
                    raise unavailable(error) from error

    def _transfer(self, key: str, offset: int, length: int, etag: str) -> Iterator[bytes]:
        response = self._client.get_object(
            self._bucket,
            self._prefix + key,
            offset=offset,
            length=length,
            request_headers={"If-Match": f'"{etag}"'},
        )
        try:
            yield from response.stream(CHUNK_BYTES)
        finally:
            response.close()
            response.release_conn()
