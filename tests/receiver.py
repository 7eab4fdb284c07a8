"""Real servers that take what is posted to them, or only seem to."""

from __future__ import annotations

import socket
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


class Receiver:
    """Answers what it is told to, and keeps what came."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a free port of loopback."""
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                code = receiver.answers.pop(0) if receiver.answers else 204
                self.send_response(code)
                if code in {301, 302, 307}:
                    self.send_header("Location", f"{receiver.uri}elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}/"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
            self.uri = f"https://localhost:{self._server.server_port}/"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class DrippingReceiver:
    """Answers with a line that never ends, byte by byte."""

    def __init__(self) -> None:
        """Listen on a free port of loopback."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ended = Event()
        self._thread = Thread(target=self._drip)

    def __enter__(self) -> str:
        """Begin; return the address."""
        self._thread.start()
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}/"

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._ended.set()
        self._thread.join()
        self._listening.close()

    def _drip(self) -> None:
        line, _ = self._listening.accept()
        with line:
            while not self._ended.wait(0.02):
                try:
                    line.sendall(b"x")
                except OSError:
                    return
