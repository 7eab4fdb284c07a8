"""What the S3 store does when the way to its server is bad: a real server behind a bad proxy."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import urllib3

from services.common.errors import Unavailable
from services.common.storage import UnsuitableStore, open_store, read_all
from tests.engines import StoreServer, free_ports

FORWARD = ""
DROP_REPLY = "the server answers, the client never hears it"
CUT_BODY = "half the body arrives"
FAIL = "503"
CONFLICT = "409"
FORGET_CONDITION = "If-None-Match is lost"


@dataclass
class BadProxy:
    """An HTTP proxy that does to each request what `plan` says."""

    server: StoreServer
    endpoint: str
    plan: Callable[[str, str], str] = lambda _method, _path: FORWARD
    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def front(self) -> StoreServer:
        return replace(self.server, endpoint=self.endpoint)

    def once(self, fault: str, method: str) -> None:
        """Do `fault` to the next request of `method`."""
        left = [fault]
        self.plan = lambda found, _path: left.pop() if left and found == method else FORWARD


@contextmanager
def proxied(server: StoreServer) -> Iterator[BadProxy]:  # noqa: C901 - one fault, one branch
    pool = urllib3.PoolManager(retries=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            bad.requests.append((self.command, self.path))
            fault = bad.plan(self.command, self.path)
            if fault in {FAIL, CONFLICT}:
                self.send_response(int(fault))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            headers = dict(self.headers.items())
            if fault == FORGET_CONDITION:
                headers.pop("If-None-Match", None)
            answer = pool.request(
                self.command, server.endpoint + self.path, body=body, headers=headers
            )
            if fault == DROP_REPLY:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in {"connection", "transfer-encoding", "date", "server"}:
                    self.send_header(name, value)
            if "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.data)))
            self.end_headers()
            if fault == CUT_BODY:
                self.wfile.write(answer.data[: len(answer.data) // 2])
                self.close_connection = True
            elif self.command != "HEAD":
                self.wfile.write(answer.data)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - http.server's

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

    with Listener(("127.0.0.1", 0), Handler) as listener:
        bad = BadProxy(server=server, endpoint=f"http://127.0.0.1:{listener.server_port}")
        thread = Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield bad
        finally:
            listener.shutdown()
            thread.join()
            pool.clear()


@pytest.fixture
def proxy(seaweedfs: StoreServer) -> Iterator[BadProxy]:
    with proxied(seaweedfs) as proxy:
        yield proxy


def test_server_that_ignores_the_condition_is_refused(proxy: BadProxy) -> None:
    proxy.plan = lambda _method, _path: FORGET_CONDITION

    with pytest.raises(UnsuitableStore, match="If-None-Match"):
        open_store(proxy.front.url("faults"), proxy.front.options)


def test_a_waiting_creation_is_sent_again_whole(proxy: BadProxy) -> None:
    store = open_store(proxy.front.url("faults", secrets.token_hex(4)), proxy.front.options)
    proxy.once(FAIL, "PUT")
    turns: list[None] = []

    assert store.create(
        "a", [b"x" * 100_000, b"y" * 100_000], before_end=lambda: turns.append(None)
    )

    assert len(turns) == 2
    assert b"".join(store.get("a")) == b"x" * 100_000 + b"y" * 100_000


def test_creator_whose_reply_was_lost_knows_its_own_object(proxy: BadProxy) -> None:
    store = open_store(proxy.front.url("faults", secrets.token_hex(4)), proxy.front.options)
    proxy.once(DROP_REPLY, "PUT")

    assert store.create("a", b"same bytes")

    assert sum(method == "PUT" for method, _ in proxy.requests[-4:]) == 2


def test_creator_whose_reply_was_lost_does_not_claim_anothers(proxy: BadProxy) -> None:
    """The same bytes, and the refusal of the first attempt is what got lost."""
    store = open_store(proxy.front.url("faults", secrets.token_hex(4)), proxy.front.options)
    assert store.create("a", b"same bytes")
    proxy.once(DROP_REPLY, "PUT")

    assert not store.create("a", b"same bytes")


@pytest.mark.parametrize("fault", [FAIL, CONFLICT])
def test_passing_fault_is_retried(proxy: BadProxy, fault: str) -> None:
    store = open_store(proxy.front.url("faults", secrets.token_hex(4)), proxy.front.options)
    proxy.once(fault, "PUT")

    assert store.create("a", b"1")

    assert read_all(store, "a", limit=10) == b"1"


def test_broken_transfer_goes_on_where_it_stopped(proxy: BadProxy) -> None:
    store = open_store(proxy.front.url("faults", secrets.token_hex(4)), proxy.front.options)
    content = secrets.token_bytes(3 << 20)
    store.put("a", content)
    proxy.once(CUT_BODY, "GET")

    assert b"".join(store.get("a", offset=7)) == content[7:]


def test_lasting_fault_is_unavailable_and_says_when_to_retry(proxy: BadProxy) -> None:
    store = open_store(proxy.front.url("faults", secrets.token_hex(4)), proxy.front.options)
    store.put("a", bytes(10))
    proxy.plan = lambda method, _path: FAIL if method in {"PUT", "HEAD"} else FORWARD

    for call in (lambda: store.create("b", b""), lambda: list(store.get("a"))):
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.retry_after
        assert "127.0.0.1" not in caught.value.message


def test_transfer_that_always_breaks_ends(proxy: BadProxy) -> None:
    store = open_store(proxy.front.url("faults", secrets.token_hex(4)), proxy.front.options)
    store.put("a", bytes(3 << 20))
    proxy.plan = lambda method, _path: DROP_REPLY if method == "GET" else FORWARD

    with pytest.raises(Unavailable, match="does not answer"):
        list(store.get("a"))


def test_nobody_there(seaweedfs: StoreServer) -> None:
    (port,) = free_ports(1)
    gone = replace(seaweedfs, endpoint=f"http://127.0.0.1:{port}")

    with pytest.raises(Unavailable, match="does not answer"):
        open_store(gone.url("faults"), gone.options)


def test_wrong_key(seaweedfs: StoreServer) -> None:
    wrong = replace(seaweedfs, secret_key="wrong")  # noqa: S106 - no secret

    with pytest.raises(Unavailable, match="credentials") as caught:
        open_store(wrong.url("faults"), wrong.options)

    assert "wrong" not in str(caught.value)
