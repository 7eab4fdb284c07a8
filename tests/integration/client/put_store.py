"""An object store behind signed addresses: takes each part once, and breaks where it is told."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.integration.client.scripted import Scripted


class PutStore:
    """Parts that are put become the scripted service's committed bytes."""

    def __init__(self, script: Scripted) -> None:
        """Listen on a free port of loopback, and have the service sign addresses of it."""
        self.answers: list[int] = []
        self.forget_answers = 0
        self.headers: list[dict[str, str]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                store.headers.append(dict(self.headers))
                _, split, offset = self.path.partition("?")[0].split("/")
                stored = script.files[int(split)]
                code = store.answers.pop(0) if store.answers else 200
                if code == 200 and int(offset) < len(stored):
                    code = 412
                if code == 200:
                    stored += data
                if store.forget_answers:
                    store.forget_answers -= 1
                    return
                self.send_response(code)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        script.store = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
