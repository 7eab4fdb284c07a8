"""Any number of requests over one stream, answered in order, through streams that break off.

What was not answered when a stream broke off is sent again on the next one: a request computes and
changes nothing, so that twice is as good as once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import grpc

from isogloss.api.streams import broken, delays, pause
from isogloss.errors import IsoglossError, Unavailable
from isogloss.status import error_from_status
from isogloss.transport import Transport
from isogloss.v1 import inference_service_pb2 as pb

WINDOW = 64
"""Requests that are sent and not yet taken: what is held here of a source of any length, and
enough for a server to be busy while answers and requests travel."""


async def in_order(
    transport: Transport,
    call: grpc.StreamStreamMultiCallable[pb.ProcessRequest, pb.ProcessResponse],
    requests: Iterator[pb.ProcessRequest],
    timeout: float | None = None,
) -> AsyncGenerator[pb.ProcessResponse]:
    """Send requests as the answers are taken, and give the answers in the order of the requests.

    Args:
        transport: What reaches the service.
        call: `Process`.
        requests: Read in another thread, as far ahead as `WINDOW` says; their ids are set here.
        timeout: Seconds that one stream may take; None: for ever.

    Raises:
        IsoglossError: The service cannot be reached at first, or for too long later on.
        Exception: Whatever `requests` raises.
    """
    outbox = Outbox(requests)
    waits, begun = delays(), False
    try:
        while not outbox.done:
            failure: IsoglossError = Unavailable("The server ended the stream too early.")
            try:
                async with aclosing(transport.duplex(call, outbox.open(), timeout)) as responses:
                    async for response in responses:
                        _check(response)
                        outbox.take(response)
                        waits, begun = delays(), True
                        for ready in outbox.ready():
                            yield ready
            except IsoglossError as error:
                if not (begun and broken(error)):
                    raise
                failure = error
            if not outbox.done:
                await transport.sleep(pause(failure, waits))
    finally:
        outbox.close()


def _check(response: pb.ProcessResponse) -> None:
    """See whether a request should be sent again, as all others that have no answer yet."""
    if response.error.code == grpc.StatusCode.UNAVAILABLE.value[0]:
        raise error_from_status(response.error)


class Outbox:
    """Requests on their way, and answers that wait for those before them. Thread safe.

    gRPC takes the requests in a thread of its own; answers come in the caller's.
    """

    def __init__(self, requests: Iterator[pb.ProcessRequest]) -> None:
        """Send nothing yet."""
        self._requests = requests
        self._reading = threading.Lock()
        self._changed = threading.Condition()
        self._unanswered: dict[str, pb.ProcessRequest] = {}
        self._again: deque[pb.ProcessRequest] = deque()
        self._answers: dict[str, pb.ProcessResponse] = {}
        self._sent = self._due = 0
        self._stream = 0
        self._exhausted = False
        self._failure: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether all is answered.

        Raises:
            Exception: What the source raised, once all before it is answered.
        """
        with self._changed:
            if self._unanswered or not self._exhausted:
                return False
            if self._failure is not None:
                raise self._failure
            return True

    def open(self) -> Iterator[pb.ProcessRequest]:
        """Give what is to be sent on a new stream: what has no answer, then what is new."""
        with self._changed:
            self._stream += 1
            stream = self._stream
            self._again = deque(self._unanswered.values())
            self._changed.notify_all()
        return iter(lambda: self._next(stream), None)

    def take(self, response: pb.ProcessResponse) -> None:
        """Keep an answer until its turn comes; a second one to the same request is passed over."""
        with self._changed:
            if self._unanswered.pop(response.id, None) is not None:
                self._answers[response.id] = response

    def ready(self) -> Iterator[pb.ProcessResponse]:
        """Give the answers whose turn has come."""
        while (answer := self._answers.pop(str(self._due), None)) is not None:
            yield answer
            with self._changed:
                self._due += 1
                self._changed.notify_all()

    def close(self) -> None:
        """Let nothing more be sent."""
        with self._changed:
            self._stream += 1
            self._changed.notify_all()

    def _next(self, stream: int) -> pb.ProcessRequest | None:
        """Return what a stream sends next; None where it has to send nothing more."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stream != stream or self._sendable)
                if self._stream != stream or (self._exhausted and not self._again):
                    return None
                if self._again:
                    return self._again.popleft()
            with self._reading:
                # Whoever read before may have left what it read to be sent here.
                if not self._again:
                    return self._read(stream)

    @property
    def _sendable(self) -> bool:
        return bool(self._again) or self._exhausted or self._sent - self._due < WINDOW

    def _read(self, stream: int) -> pb.ProcessRequest | None:
        """Take from the source, for this stream or for the one that was opened meanwhile."""
        try:
            request = next(self._requests, None)
        except Exception as failure:  # noqa: BLE001 (the caller's source: `done` raises it there)
            self._failure, request = failure, None
        with self._changed:
            self._changed.notify_all()
            if request is None:
                self._exhausted = True
                return None
            request.id = str(self._sent)
            self._sent += 1
            self._unanswered[request.id] = request
            if self._stream == stream:
                return request
            self._again.append(request)
            return None
