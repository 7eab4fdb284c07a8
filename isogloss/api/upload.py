"""One file into a dataset: measured first, sent in pieces, continued where a stream broke."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from isogloss import convert
from isogloss.api.streams import broken, delays
from isogloss.datasets import Split
from isogloss.errors import IsoglossError, OutOfRange, Unavailable
from isogloss.transport import Transport
from isogloss.v1 import dataset_service_pb2 as pb
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub

CHUNK_BYTES = 1024 * 1024
"""What one message holds: as much as the service takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that is to be uploaded, as it was when it was measured."""

    split: Split
    path: Path
    size: int
    sha256: str


def measure(split: Split, path: str | os.PathLike[str]) -> Source:
    """Read a file once for its size and its sum.

    The sum is taken before anything is sent, so that a file that changes on the way is
    noticed, and so that an upload can go on in another process.
    """
    digest = hashlib.sha256()
    size = 0
    with Path(path).open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
            size += len(data)
    return Source(split=split, path=Path(path), size=size, sha256=digest.hexdigest())


async def send(
    transport: Transport,
    stub: DatasetServiceStub,
    name: str,
    source: Source,
    *,
    committed: int,
    sent: Callable[[int], None],
) -> None:
    """Send the part of a file that is not stored yet.

    Args:
        transport: Reaches the service.
        stub: The service.
        name: The dataset, `datasets/{dataset}`.
        source: The file.
        committed: Bytes that are stored already.
        sent: Is told the bytes of this file that were sent so far, from another thread.

    Raises:
        IsoglossError: The service refused, or the connection broke too often in a row.
        OSError: The file cannot be read any more.
    """
    waits, best = delays(), committed
    at: int | None = committed
    while at is None or at < source.size:
        pieces = _Pieces(name, source, at or 0, sent)
        try:
            if at is None:
                at = await _committed(transport, stub, name, source)
                sent(at)
                if at > best:
                    best, waits = at, delays()
                continue
            at = (await transport.upload(stub.WriteDataset, iter(pieces))).committed_size
            if at < source.size:
                # Asked again like a broken stream, with an end to its patience.
                raise Unavailable(f"Only {at} of {source.size} bytes were stored.")
        except IsoglossError as error:
            if pieces.failure is not None:
                raise pieces.failure from error
            wait = next(waits, None)
            if wait is None or not (isinstance(error, OutOfRange) or broken(error)):
                raise
            await transport.sleep(wait)
            at = None


async def _committed(
    transport: Transport, stub: DatasetServiceStub, name: str, source: Source
) -> int:
    message = await transport.unary(stub.GetDataset, pb.GetDatasetRequest(name=name), None)
    return convert.dataset(message).uploads.get(source.split, 0)


class _Pieces:
    """The messages of one stream; keeps what reading the file raised, for gRPC swallows it."""

    def __init__(self, name: str, source: Source, offset: int, sent: Callable[[int], None]) -> None:
        self._name, self._source, self._offset, self._sent = name, source, offset, sent
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[pb.WriteDatasetRequest]:
        try:
            yield from self._read()
        except Exception as error:
            self.failure = error
            raise

    def _read(self) -> Iterator[pb.WriteDatasetRequest]:
        position, end = self._offset, self._source.size
        with self._source.path.open("rb") as file:
            file.seek(position)
            message = pb.WriteDatasetRequest(
                name=self._name,
                split=convert.split_to_proto(self._source.split),
                offset=position,
            )
            while position < end:
                message.data = file.read(min(CHUNK_BYTES, end - position))
                if not message.data:
                    raise OSError(f"{self._source.path} became shorter while it was uploaded.")
                yield message
                position += len(message.data)
                self._sent(position)
                message = pb.WriteDatasetRequest()
