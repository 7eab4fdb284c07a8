"""Whether the head of a Ray cluster is at an address. Needs no Ray, which would ask for ever."""

from __future__ import annotations

import grpc

_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"

_STRANGERS = {
    grpc.StatusCode.UNAVAILABLE: "nothing there speaks as Ray does",
    grpc.StatusCode.DEADLINE_EXCEEDED: "nothing there speaks as Ray does",
    grpc.StatusCode.UNIMPLEMENTED: "another gRPC server is there",
}
# Whatever else is said, Ray says it: asked for a token, for one.


def check_head(address: str, *, seconds: float) -> None:
    """See that a head answers.

    Args:
        address: `HOST:PORT`.
        seconds: How long it may take to.

    Raises:
        ConnectionError: Saying what is there instead.
    """
    with grpc.insecure_channel(address) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_ALIVE)
        try:
            ask(b"", timeout=seconds)
        except grpc.RpcError as error:
            problem = _STRANGERS.get(error.code())
            if problem is not None:
                raise ConnectionError(problem) from error
