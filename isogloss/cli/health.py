"""Asks a server whether it serves, the way every gRPC server is asked."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2

from isogloss.status import error_from_rpc


def serves(channel: grpc.Channel, service: str, *, seconds: float) -> bool:
    """Tell whether a service is SERVING.

    Args:
        channel: Leads to the server.
        service: Its full name, such as `isogloss.v1.ModelService`. Empty: the whole server.
        seconds: Time that the answer may take.

    Raises:
        IsoglossError: There was no answer.
    """
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = check(health_pb2.HealthCheckRequest(service=service), timeout=seconds)
    except grpc.RpcError as error:
        raise error_from_rpc(error) from error
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
