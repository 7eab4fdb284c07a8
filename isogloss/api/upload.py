"""Files into a dataset: sent in pieces, continued where a stream broke."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from isogloss import dataset_convert as convert
from isogloss.api.sources import Source, chunks
from isogloss.api.streams import Outgoing, delays, passing, pause
from isogloss.errors import IsoglossError, OutOfRange, Unavailable
from isogloss.transport import Transport
from isogloss.v1 import dataset_pb2
from isogloss.v1 import dataset_service_pb2 as pb
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub


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
        messages = Outgoing(_pieces(name, source, at or 0, sent))
        try:
            if at is None:
                at = await stored(transport, stub, name, source)
                sent(at)
                if at > best:
                    best, waits = at, delays()
                continue
            at = (await transport.upload(stub.WriteDataset, iter(messages))).committed_size
            if at < source.size:
                # Asked again like a broken stream, with an end to its patience.
                raise Unavailable(f"Only {at} of {source.size} bytes were stored.")
        except IsoglossError as error:
            if messages.failure is not None:
                raise messages.failure from error
            if not (isinstance(error, OutOfRange) or passing(error)):
                raise
            wait = pause(error, waits)
            await transport.sleep(wait)
            at = None


async def stored(transport: Transport, stub: DatasetServiceStub, name: str, source: Source) -> int:
    """Ask how many bytes of a file are stored without a gap."""
    message = await transport.unary(stub.GetDataset, pb.GetDatasetRequest(name=name), None)
    return convert.dataset(message).uploads.get(source.split, 0)


def check_messages(
    options: dataset_pb2.DatasetOptions,
    sources: Sequence[Source],
    sent: Callable[[Source, int], None],
) -> Iterator[pb.CheckDatasetRequest]:
    """Give the messages of a check: the options, then the files one after another."""
    yield pb.CheckDatasetRequest(options=options)
    for source in sources:
        split = convert.split_to_proto(source.split)
        if not source.size:
            # An empty file is a file all the same: the report is to say so.
            yield pb.CheckDatasetRequest(split=split)
        for position, data in chunks(source, 0, source.size):
            yield pb.CheckDatasetRequest(split=split, data=data)
            sent(source, position + len(data))


def _pieces(
    name: str, source: Source, offset: int, sent: Callable[[int], None]
) -> Iterator[pb.WriteDatasetRequest]:
    message = pb.WriteDatasetRequest(
        name=name, split=convert.split_to_proto(source.split), offset=offset
    )
    for position, data in chunks(source, offset, source.size):
        message.data = data
        yield message
        sent(position + len(data))
        message = pb.WriteDatasetRequest()
