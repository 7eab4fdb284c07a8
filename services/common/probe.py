"""Asks a service on this machine for its health, as a client would: over TLS where it is on.

    python -m services.common.probe ingest|trainer|inference

Addresses and the authority's file come from the client's variables: ISOGLOSS_INGEST,
ISOGLOSS_TRAINER, ISOGLOSS_INFERENCE, ISOGLOSS_TLS_CA.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import cast

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from isogloss.connection import DEFAULT_ADDRESSES, Endpoint, resolve
from isogloss.errors import ConfigurationError

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
        status = _ask(endpoint, credentials)
    except ConfigurationError as error:
        status = str(error)
    except grpc.RpcError as error:
        status = str(cast("grpc.Call", error).details())  # each error of a call is its call too
    if status == "SERVING":
        return 0
    sys.stderr.write(f"{service}: {status}\n")
    return 1


def _ask(endpoint: Endpoint, credentials: grpc.ChannelCredentials | None) -> str:
    """Return the status of the server as a whole, such as `SERVING`."""
    with (
        grpc.secure_channel(endpoint.target, credentials)
        if credentials
        else grpc.insecure_channel(endpoint.target)
    ) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        answer = check(HealthCheckRequest(), timeout=_SECONDS)
    return HealthCheckResponse.ServingStatus.Name(answer.status)


if __name__ == "__main__":
    sys.exit(main())
