from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from services.trainer.distributed.presence import check_head


@contextmanager
def serving(service: str) -> Iterator[str]:
    """Serve one method of a service, that answers nothing much; yield the address."""
    server = grpc.server(ThreadPoolExecutor(1))
    answer: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
        lambda _, __: b""
    )
    handlers = grpc.method_handlers_generic_handler(service, {"CheckAlive": answer})
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


def test_a_head_answers() -> None:
    with serving("ray.rpc.NodeInfoGcsService") as address:
        check_head(address, seconds=10)


def test_another_server_is_told_from_a_head() -> None:
    with (
        serving("another.Service") as address,
        pytest.raises(ConnectionError, match="another gRPC server"),
    ):
        check_head(address, seconds=10)


def test_what_listens_and_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with pytest.raises(ConnectionError, match="nothing there speaks"):
            check_head(f"{host}:{port}", seconds=0.5)
