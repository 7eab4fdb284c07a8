"""Signs addresses of an S3 server together with headers (AWS Signature Version 4). Pure.

The minio SDK signs the host alone, so whoever holds its address may leave out the headers that
keep him from replacing an object, or send another length than was agreed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlsplit

MAX_SECONDS = 7 * 24 * 3600
"""S3's limit on the life of an address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """Who signs, and for which region."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str


def sign(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    key: SigningKey,
    now: datetime,
    seconds: int,
) -> str:
    """Return `url` with a signature that holds for exactly these headers.

    Args:
        method: Of HTTP, in capitals.
        url: Of the object, percent-encoded, without a query.
        headers: Names in small letters and values that the request must have, the host excepted.
        key: Who signs.
        now: In UTC.
        seconds: How long the address works, 1 to `MAX_SECONDS`.
    """
    parts = urlsplit(url)
    signed = dict(sorted({**headers, "host": parts.netloc}.items()))
    names = ";".join(signed)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{key.region}/s3/aws4_request"
    query = "&".join(
        f"{name}={quote(value, safe='')}"
        for name, value in (
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{key.access_key}/{scope}"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(seconds)),
            ("X-Amz-SignedHeaders", names),
        )
    )
    lines = "".join(f"{name}:{value.strip()}\n" for name, value in signed.items())
    request = f"{method}\n{parts.path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signature = _derived(key.secret_key, scope, text).hex()
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{query}&X-Amz-Signature={signature}"


def _derived(secret: str, scope: str, text: str) -> bytes:
    derived = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()
    return derived
