"""One message over HTTP, within a time that the receiver cannot stretch. Knows no message."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from typing import Protocol
from urllib.parse import urlsplit

_CONNECT_SECONDS = 3.0
_MOST_ADDRESSES = 2
# A host may have an address that is dead, and another; one with a hundred is not tried through.


class Post(Protocol):
    """Posts a message and returns the status of the answer."""

    def __call__(self, uri: str, *, body: bytes, headers: dict[str, str]) -> int:
        """Post it.

        Raises:
            OSError: Where there is no answer.
        """
        ...


class HttpsPost:
    """Posts over HTTPS, certificates verified; follows no redirect and reads no body.

    Args:
        seconds: From the connection to the last header of the answer: all in all, and not only
            between two bytes.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        """Read the certificates that this machine trusts."""
        self._seconds = seconds
        self._tls = ssl.create_default_context()

    def __call__(self, uri: str, *, body: bytes, headers: dict[str, str]) -> int:
        """Post it."""
        parts = urlsplit(uri)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with closing(_connected(host, port)) as reached, self._cut_off(reached) as was_cut:
            try:
                line = self._tls.wrap_socket(reached, server_hostname=host) if secure else reached
                connection = HTTPConnection(host, port)
                connection.sock = line
                with closing(connection):
                    connection.request("POST", target, body, {**headers, "host": parts.netloc})
                    with connection.getresponse() as answer:
                        return answer.status
            except (OSError, HTTPException) as error:
                if was_cut.is_set():
                    raise TimeoutError(f"no answer within {self._seconds:g} s") from error
                raise OSError(str(error) or type(error).__name__) from error

    @contextmanager
    def _cut_off(self, line: socket.socket) -> Iterator[threading.Event]:
        """End what goes over a line once the time is up; the event then says so."""
        cut = threading.Event()
        # Of its own, as the line itself changes hands where TLS wraps it.
        copy = line.dup()

        def cut_off() -> None:
            cut.set()
            with suppress(OSError):
                copy.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._seconds, cut_off)
        timer.start()
        try:
            yield cut
        finally:
            timer.cancel()
            timer.join()
            copy.close()


def _connected(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError(f"{host} has no address")
    for *_, address in found[:_MOST_ADDRESSES]:
        try:
            line = socket.create_connection((str(address[0]), port), _CONNECT_SECONDS)
        except OSError as error:
            failure = error
        else:
            # From here on the whole time counts.
            line.settimeout(None)
            return line
    raise failure
