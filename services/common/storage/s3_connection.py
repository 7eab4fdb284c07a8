"""How S3 servers are reached: the account, retries, and what their faults mean to callers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError

from services.common.errors import Unavailable
from services.common.storage.signing import SigningKey

RETRY_AFTER_SECONDS = 5.0
"""What callers are told when the retries below (about 3.5 s in all) did not help."""

RETRIED_STATUS = frozenset({500, 502, 503, 504})
ABSENT = frozenset({"NoSuchKey", "ResourceNotFound"})


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Account:
    """A server and the credentials for it."""

    endpoint: str
    """Host and port, without scheme."""

    secure: bool
    """Whether to speak TLS."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    """The bucket's."""

    connect_timeout: float
    """Seconds for one connection to be made."""

    read_timeout: float
    """Seconds without a byte after which an answer counts as lost."""

    @property
    def signing_key(self) -> SigningKey:
        """What signs addresses."""
        return SigningKey(
            access_key=self.access_key, secret_key=self.secret_key, region=self.region
        )

    def connect(self) -> tuple[Minio, urllib3.PoolManager]:
        """Return a client and its connections; nothing is sent yet."""
        pool = urllib3.PoolManager(
            maxsize=32,  # idle connections kept: the threads that a service uses at once
            timeout=urllib3.Timeout(connect=self.connect_timeout, read=self.read_timeout),
            retries=retries(RETRIED_STATUS),
        )
        client = Minio(
            self.endpoint,
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=self.secure,
            region=self.region,
            http_client=pool,
        )
        return client, pool


class _Retry(urllib3.Retry):
    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:  # noqa: FBT001, FBT002 - urllib3's signature
        # MinIO on one drive answers a write so, when a deletion tidies its folder away.
        if status_code == HTTPStatus.FORBIDDEN:
            return method in {"PUT", "POST"}
        return super().is_retry(method, status_code, has_retry_after)


def retries(statuses: frozenset[int]) -> urllib3.Retry:
    """Up to 5 retries: at once, then after 0.2, 0.4, 0.8 and 1.6 s, each with up to 0.2 s more."""
    return _Retry(
        total=5,
        backoff_factor=0.1,
        backoff_jitter=0.2,
        status_forcelist=statuses,
        allowed_methods=None,  # all: every request here may be sent twice
        raise_on_status=False,
        respect_retry_after_header=False,
    )


@contextlib.contextmanager
def as_unavailable() -> Iterator[None]:
    """Turn what the SDK and its connections raise into the error family."""
    try:
        yield
    except (MinioException, HTTPError) as error:
        raise unavailable(error) from error


def unavailable(error: Exception) -> Unavailable:
    """Say what is wrong with the store, without its address or a key."""
    if isinstance(error, S3Error):
        code = error.code or "unknown"
        return Unavailable(
            f"The object store refused the request ({code}): see its credentials and policy.",
            metadata={"store": "s3", "code": code},
        )
    if isinstance(error, ServerError):
        found = f"failed with status {error.status_code}"
    elif isinstance(error, InvalidResponseError):
        found = "gave an answer that is not S3's"
    else:
        found = "does not answer"
    return Unavailable(
        f"The object store {found}: retry, or see that its server runs.",
        metadata={"store": "s3"},
        retry_after=RETRY_AFTER_SECONDS,
    )
