"""Brings files of the object store here: in parts, several at once, hashed as they come."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import BinaryIO

from services.common.errors import DataLoss, NotFound, Unavailable
from services.common.storage import CHUNK_BYTES, ObjectStore
from services.inference.artifact import Artifact

_PART_BYTES = 8 * 1024 * 1024
"""Of one request. S3 gives one connection some 50 to 90 MB/s: a part takes a tenth of a second,
against which the round trips of a request do not count."""

_PARTS_AT_ONCE = 4
"""Of one file."""

_CONNECTIONS = 8
"""Of all files. Each holds one chunk of 1 MiB, so downloads take 8 MiB of memory at most."""


class Downloader:
    """Downloads files of one store. Thread safe."""

    def __init__(self, store: ObjectStore, *, part_bytes: int = _PART_BYTES) -> None:
        """Start no thread yet.

        Args:
            store: Where from.
            part_bytes: How much one request asks for.
        """
        self._store = store
        self._part_bytes = part_bytes
        self._executor = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="download")

    def fetch(self, artifact: Artifact, file: BinaryIO) -> None:
        """Write a file's bytes; trust them only where this returns.

        Args:
            artifact: Which.
            file: Open for reading and writing; only its descriptor is used.

        Raises:
            DataLoss: Where it is absent, or other bytes than its checksum says.
            Unavailable: Where the store does not answer.
        """
        target = file.fileno()
        ends = range(0, artifact.size, self._part_bytes)
        parts = iter([(start, min(start + self._part_bytes, artifact.size)) for start in ends])
        digest = hashlib.sha256()
        under_way: deque[tuple[int, int, Future[None]]] = deque()

        def begin(count: int) -> None:
            for start, end in islice(parts, count):
                future = self._executor.submit(self._part, artifact, target, start, end)
                under_way.append((start, end, future))

        begin(_PARTS_AT_ONCE)
        try:
            while under_way:
                start, end, future = under_way.popleft()
                future.result()
                begin(1)
                # In order, out of the page cache, while the parts behind it are on their way.
                for offset in range(start, end, CHUNK_BYTES):
                    digest.update(os.pread(target, min(CHUNK_BYTES, end - offset), offset))
        finally:
            # Nobody may write to a descriptor that is closed, or another file's by then.
            left = [future for _, _, future in under_way if not future.cancel()]
            wait(left)
        if digest.hexdigest() != artifact.sha256:
            raise _damaged(artifact, "has another sha256 than its manifest says")

    def close(self) -> None:
        """End the threads; what is under way is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _part(self, artifact: Artifact, target: int, start: int, end: int) -> None:
        while start < end:
            before = start
            try:
                for chunk in self._store.get(artifact.key, offset=start, length=end - start):
                    _write(target, chunk, start)
                    start += len(chunk)
            except NotFound:
                raise _damaged(artifact, "is missing") from None
            except Unavailable:
                # A transfer that broke goes on where it broke, as long as anything comes.
                if start == before:
                    raise
            else:
                if start == before:
                    raise _damaged(artifact, f"has {start} bytes instead of {artifact.size}")


def _write(target: int, chunk: bytes, offset: int) -> None:
    rest = memoryview(chunk)
    while rest:
        written = os.pwrite(target, rest, offset)
        rest, offset = rest[written:], offset + written


def _damaged(artifact: Artifact, found: str) -> DataLoss:
    return DataLoss(
        f"The stored file {artifact.key} {found}: restore it from a backup, or train or import "
        "the model again.",
        metadata={"key": artifact.key},
    )
