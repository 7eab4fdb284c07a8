"""Asks a service on this machine for its health, as a client would: over TLS where it is on.

    python -m services.common.probe ingest|trainer|inference

Addresses and the authority's file come from the client's variables: ISOGLOSS_INGEST,
ISOGLOSS_TRAINER, ISOGLOSS_INFERENCE, ISOGLOSS_TLS_CA.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import grpc

from isogloss.cli.health import serves
from isogloss.connection import DEFAULT_ADDRESSES, resolve
from isogloss.errors import IsoglossError

_SECONDS = 5.0
"""For the whole probe. A container's own limit must be larger, so that the reason is told."""


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 where the service serves, else 1 after saying what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m services.common.probe")
    parser.add_argument("service", choices=list(DEFAULT_ADDRESSES))
    service = parser.parse_args(argv).service
    try:
        connection = resolve({})
        endpoint = connection.endpoints[service]
        credentials = connection.credentials() if endpoint.tls else None
        with (
            grpc.secure_channel(endpoint.target, credentials)
            if credentials
            else grpc.insecure_channel(endpoint.target)
        ) as channel:
            reason = "" if serves(channel, "", seconds=_SECONDS) else "It does not serve."
    except IsoglossError as error:
        reason = error.message
    if reason:
        sys.stderr.write(f"{service}: {reason}\n")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
