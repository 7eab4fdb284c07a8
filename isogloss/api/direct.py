"""A file straight into the object store, by addresses that the service signs."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from isogloss import dataset_convert as convert
from isogloss.api.sources import Source, chunks
from isogloss.api.streams import Outgoing, delays, passing, pause
from isogloss.api.upload import stored
from isogloss.errors import IsoglossError, OutOfRange, ServerError, Unavailable
from isogloss.transport import Transport
from isogloss.v1 import dataset_service_pb2 as pb
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub

PART_BYTES = 64 * 1024 * 1024
"""What one address takes: some seconds of work to repeat where it breaks."""

SILENCE_SECONDS = 60.0
"""How long the store may take for each step of a PUT."""

_PASSING = {
    HTTPStatus.FORBIDDEN,  # the address ran out
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,  # another PUT of the same part is not over
    HTTPStatus.TOO_MANY_REQUESTS,
}


async def put(
    transport: Transport,
    stub: DatasetServiceStub,
    name: str,
    source: Source,
    *,
    committed: int,
    sent: Callable[[int], None],
) -> None:
    """Send the part of a file that is not stored yet, past the service.

    Args and Raises: as `isogloss.api.upload.send`.
    """
    waits, at = delays(), committed
    while at < source.size:
        size = min(PART_BYTES, source.size - at)
        try:
            request = pb.GenerateUploadUrlRequest(
                name=name,
                split=convert.split_to_proto(source.split),
                offset=at,
                size_bytes=size,
            )
            ticket = await transport.unary(stub.GenerateUploadUrl, request, None)
            body = Outgoing(_body(source, at, size, sent))
            await transport.work(_put, ticket.url, ticket.headers, body, size)
            reached = await stored(transport, stub, name, source)
            if reached <= at:
                raise Unavailable(f"Only {reached} of {at + size} bytes were stored.")
            at, waits = reached, delays()
        except IsoglossError as error:
            if not (isinstance(error, OutOfRange) or passing(error)):
                raise
            wait = pause(error, waits)
            await transport.sleep(wait)
            at = await stored(transport, stub, name, source)
        sent(at)


def _put(url: str, headers: Mapping[str, str], body: Outgoing[bytes], size: int) -> None:
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ServerError("The server gave an upload address that is neither http nor https.")
    request = urllib.request.Request(  # noqa: S310 (looked at above)
        url,
        data=iter(body),
        headers={
            "Content-Type": "application/octet-stream",
            **headers,
            "Content-Length": str(size),
        },
        method="PUT",
    )
    try:
        with urllib.request.urlopen(request, timeout=SILENCE_SECONDS):  # noqa: S310 (as above)
            return
    except urllib.error.HTTPError as error:
        with error:
            # 412: these bytes are there already, sent by a try whose answer was lost.
            if error.code == HTTPStatus.PRECONDITION_FAILED:
                return
            raise _refusal(url, error) from None
    except OSError as error:
        if body.failure is not None:
            raise body.failure from None
        reason = getattr(error, "reason", error)
        raise Unavailable(
            f"The object store at {urlsplit(url).netloc} broke off: {reason}."
        ) from None


def _body(source: Source, offset: int, size: int, sent: Callable[[int], None]) -> Iterator[bytes]:
    for position, data in chunks(source, offset, offset + size):
        yield data
        sent(position + len(data))


def _refusal(url: str, error: urllib.error.HTTPError) -> IsoglossError:
    # The address is a secret: only its host is told.
    message = f"The object store at {urlsplit(url).netloc} answered {error.code} {error.reason}."
    if error.code in _PASSING or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(message)
    return ServerError(message)
