"""Models as bundles: into a file, and from a file into a model."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from isogloss import convert
from isogloss.api.streams import Outgoing, delays, passing, pause
from isogloss.errors import IsoglossError
from isogloss.models import Model
from isogloss.transport import Transport
from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.model_service_pb2_grpc import ModelServiceStub

CHUNK_BYTES = 512 * 1024
"""Of one message; the service takes 1 MiB."""


async def import_bundle(
    transport: Transport,
    stub: ModelServiceStub,
    path: Path,
    *,
    display_name: str,
    timeout: float | None,
    progress: Callable[[int], None] | None,
) -> Model:
    """Send a bundle; where the connection breaks, again from its beginning as the same request.

    Args:
        transport: Reaches the service.
        stub: The service.
        path: The bundle.
        display_name: A name for people. Empty: the bundle's.
        timeout: Seconds for each try. None: no limit.
        progress: Is told the bytes that were sent of this try, from another thread.

    Raises:
        IsoglossError: The service refused, or the connection broke too often.
        OSError: The file cannot be read.
    """
    request_id, waits = str(uuid.uuid4()), delays()
    while True:
        first = pb.ImportModelRequest(display_name=display_name, request_id=request_id)
        messages = Outgoing(_messages(first, path, progress))
        try:
            model = await transport.upload(stub.ImportModel, iter(messages), timeout)
        except IsoglossError as error:
            if messages.failure is not None:
                raise messages.failure from error
            if not passing(error):
                raise
            wait = pause(error, waits)
        else:
            return convert.model(model)
        await transport.sleep(wait)


def _messages(
    first: pb.ImportModelRequest, path: Path, progress: Callable[[int], None] | None
) -> Iterator[pb.ImportModelRequest]:
    sent = 0
    with path.open("rb") as file:
        yield first
        while data := file.read(CHUNK_BYTES):
            yield pb.ImportModelRequest(data=data)
            sent += len(data)
            if progress is not None:
                progress(sent)
