from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import pytest
from minio.credentials.credentials import Credentials
from minio.signer import presign_v4

from services.common.storage.signing import SigningKey, sign

KEY = SigningKey(
    access_key="AKIAIOSFODNN7EXAMPLE",
    secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # noqa: S106  # the example of the specification
    region="us-east-1",
)
URL = "https://examplebucket.s3.amazonaws.com/test.txt"
NOW = datetime(2013, 5, 24, tzinfo=UTC)


@pytest.mark.parametrize("name", ["test.txt", "a%20b/c%2B.csv"])
def test_without_headers_the_signature_is_the_one_of_the_sdk(name: str) -> None:
    url = f"https://examplebucket.s3.amazonaws.com/{name}"
    expected = presign_v4(
        method="PUT",
        url=urlsplit(url),
        region=KEY.region,
        credentials=Credentials(KEY.access_key, KEY.secret_key),
        date=NOW,
        expires=86400,
    )

    assert sign("PUT", url, headers={}, key=KEY, now=NOW, seconds=86400) == urlunsplit(expected)


@pytest.mark.parametrize(
    "headers",
    [{"content-length": "5"}, {"content-length": "6"}, {"if-none-match": "*"}],
)
def test_each_header_and_value_has_a_signature_of_its_own(headers: dict[str, str]) -> None:
    both = {"if-none-match": "*", "content-length": "5"}

    assert signature(headers) != signature(both)
    assert signature(dict(reversed(both.items()))) == signature(both)


def signature(headers: dict[str, str]) -> str:
    signed = sign("PUT", URL, headers=headers, key=KEY, now=NOW, seconds=60)
    return signed.rpartition("=")[2]


def test_the_secret_is_not_shown() -> None:
    assert KEY.secret_key not in repr(KEY)
