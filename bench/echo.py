"""The emptiest server that grpc.aio can be: answers every call with its request, as bytes.

What a call to it takes is the price of gRPC in Python on this machine.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

METHOD = "/bench.Echo/Echo"


async def _echo(request: bytes, context: ServicerContext[bytes, bytes]) -> bytes:  # noqa: ARG001
    return request


async def _serve() -> None:
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
