"""Signatures of webhooks, as Standard Webhooks 1.0 has them. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

_PREFIX = "whsec_"
_LEAST_BYTES = 24
_MOST_BYTES = 64


def key_of(secret: str) -> bytes:
    """Return the key in a secret: `whsec_` and 24 to 64 bytes as base64.

    Raises:
        ValueError: Where it is none.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        msg = (
            f"expected {_PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} bytes as base64: "
            f"`printf {_PREFIX}; openssl rand -base64 32` makes one"
        )
        raise ValueError(msg)
    return key


def headers(key: bytes, *, message: str, seconds: int, body: bytes) -> Mapping[str, str]:
    """Return the headers by which a receiver knows whose message it is, and how old.

    Args:
        key: The shared key.
        message: Id of the message, the same however often it is sent.
        seconds: When it is sent, since 1970.
        body: As it is sent.
    """
    signed = b".".join([message.encode(), str(seconds).encode(), body])
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": message,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
