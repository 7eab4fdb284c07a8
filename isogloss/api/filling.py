"""The files of a dataset: made ready, sent whole, finalised. Knows nothing of how one begins."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from isogloss import dataset_convert as convert
from isogloss.api.direct import put
from isogloss.api.reporter import Reporter
from isogloss.api.sources import Rows, Source, spooled
from isogloss.api.streams import repeated
from isogloss.api.upload import send
from isogloss.dataset_options import DatasetOptions
from isogloss.dataset_report import Split
from isogloss.datasets import Dataset
from isogloss.transport import Transport
from isogloss.v1 import dataset_pb2
from isogloss.v1 import dataset_service_pb2 as pb
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub

CHECKED_BYTES_PER_SECOND = 10_000_000
"""What a server reads back and hashes at the least when an upload is finalised. A CPU hashes some
500 MB/s; the rest is room for a slow object store that several callers share."""


@asynccontextmanager
async def ready(
    transport: Transport,
    given: Mapping[Split, Rows | None],
    options: DatasetOptions,
    look: Callable[[Split, Path], Source],
) -> AsyncGenerator[tuple[Sequence[Source], DatasetOptions]]:
    """Give the files to send, and how they are to be read; tables are files while the block runs.

    Args:
        transport: Does what blocks.
        given: Files, or tables in memory.
        options: As declared; tables add how they are written.
        look: Makes a source of a file.

    Raises:
        InvalidArgument: A table holds what cannot be sent.
        OSError: A file cannot be read.
    """
    with TemporaryDirectory(prefix="isogloss-") as folder:
        paths, declared = await transport.work(spooled, given, options, folder)
        sources = [await transport.work(look, split, path) for split, path in paths.items()]
        yield sources, declared


async def send_all(
    transport: Transport,
    stub: DatasetServiceStub,
    dataset: Dataset,
    sources: Sequence[Source],
    report: Reporter,
    *,
    direct: bool,
) -> None:
    """Send what is missing of a dataset's files, past the service where `direct`.

    Raises:
        IsoglossError: As `isogloss.api.upload.send`.
        OSError: A file cannot be read any more.
    """
    committed = {source: dataset.uploads.get(source.split, 0) for source in sources}
    for source, count in committed.items():
        # At once: whoever is stopped from here on is to know what to resume.
        report.sent(source, count)
    for source, count in committed.items():
        await (put if direct else send)(
            transport,
            stub,
            dataset.name,
            source,
            committed=count,
            sent=partial(report.sent, source),
        )


async def finalize(
    transport: Transport, stub: DatasetServiceStub, name: str, sources: Sequence[Source]
) -> Dataset:
    """End an upload, with the sums of its files; validation begins.

    Raises:
        IsoglossError: The service refused, or what was stored is not what was sent.
    """
    request = pb.FinalizeDatasetRequest(
        name=name,
        checksums=[
            pb.UploadChecksum(
                split=convert.split_to_proto(source.split),
                size_bytes=source.size,
                sha256=source.sha256,
            )
            for source in sources
        ],
    )
    # The answer comes when all bytes were read once more.
    timeout = finalize_timeout(transport.timeout, sources)

    async def call() -> dataset_pb2.Dataset:
        return await transport.unary(stub.FinalizeDataset, request, timeout)

    return convert.dataset(await repeated(transport, call))


def finalize_timeout(default: float, sources: Sequence[Source]) -> float:
    """Return the seconds that finalising may take: a call's default, and more by the size."""
    return default + sum(source.size for source in sources) / CHECKED_BYTES_PER_SECOND
