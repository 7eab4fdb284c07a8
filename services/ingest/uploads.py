"""Bytes on their way in: parts in the object store, created once, resumed by offset.

Parts lie end to end; a file's committed size is as far as they reach from 0 without a gap.
Whatever a stream brought is stored when it ends, so that nothing is sent twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from services.common import layout
from services.common.errors import (
    DataLoss,
    FailedPrecondition,
    NotFound,
    OutOfRange,
    Reason,
    ResourceExhausted,
)
from services.common.storage import ObjectStore
from services.ingest.dataset import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """How much may be uploaded, and in which pieces it is stored."""

    max_file_bytes: int = 5 << 30
    max_dataset_bytes: int = 5 << 30
    """All files of one dataset together."""

    part_bytes: int = 8 << 20
    """Bytes of one stored part; one upload holds about twice this in memory."""


class Gate(Protocol):
    """Says whether a file still takes bytes: others finalise and delete it meanwhile."""

    def check_open(self) -> None:
        """Look before a part is stored.

        Raises:
            FailedPrecondition: Where the dataset was finalised.
            NotFound: Where it is gone.
        """
        ...

    def check_kept(self, end: int) -> None:
        """Make sure that a part which was just stored belongs to the dataset.

        Args:
            end: Where the part ends in its file.

        Raises:
            FailedPrecondition: Where the dataset was finalised without it.
            NotFound: Where it is gone.
        """
        ...


class Uploads:
    """The uploaded bytes of all datasets. Thread safe."""

    def __init__(self, store: ObjectStore, limits: UploadLimits) -> None:
        """Keep where and how much."""
        self._store = store
        self._limits = limits

    def committed(self, tenant: str, dataset: str, split: Split) -> int:
        """Return how many bytes are stored without a gap from the beginning."""
        return sum(size for _, size in self._parts(tenant, dataset, split))

    def sizes(self, tenant: str, dataset: str) -> dict[Split, int]:
        """Return the committed size of every file of which something is stored."""
        sizes = {split: self.committed(tenant, dataset, split) for split in Split}
        return {split: size for split, size in sizes.items() if size}

    def open(
        self, tenant: str, dataset: str, split: Split, *, gate: Gate | None = None
    ) -> UploadWriter:
        """Return a writer that goes on where the stored bytes end.

        Args:
            tenant: Whose dataset.
            dataset: Its id.
            split: Which of its files.
            gate: Asked around every part; None where nobody else knows the dataset.
        """
        sizes = self.sizes(tenant, dataset)
        others = sum(sizes.values()) - sizes.get(split, 0)
        return UploadWriter(
            store=self._store,
            prefix=(tenant, dataset, split),
            committed=sizes.get(split, 0),
            others=others,
            limits=self._limits,
            gate=gate,
        )

    def read(self, tenant: str, dataset: str, split: Split, size: int) -> Iterator[bytes]:
        """Yield the first `size` bytes of a file.

        Raises:
            DataLoss: Where fewer bytes are stored.
        """
        left = size
        for key, part_size in self._parts(tenant, dataset, split):
            if not left:
                return
            yield from self._store.get(key, length=min(left, part_size))
            left -= min(left, part_size)
        if left:
            raise DataLoss(
                f"The stored bytes of the {split} file end {left} bytes before their end.",
                metadata={"dataset": dataset, "split": split},
            )

    def sha256(self, tenant: str, dataset: str, split: Split, size: int) -> str:
        """Return the sha256 of the first `size` bytes of a file, in lower-case hexadecimal."""
        digest = hashlib.sha256()
        for chunk in self.read(tenant, dataset, split, size):
            digest.update(chunk)
        return digest.hexdigest()

    def remove(self, tenant: str, dataset: str) -> None:
        """Remove all uploaded bytes of a dataset."""
        for info in list(self._store.list(layout.raw_prefix(tenant, dataset))):
            self._store.delete(info.key)

    def _parts(self, tenant: str, dataset: str, split: Split) -> Iterator[tuple[str, int]]:
        """Yield key and size of the parts that reach from 0 without a gap.

        A part beside the chain is what a writer left that was overtaken: it is not read.
        """
        reached = 0
        for info in self._store.list(layout.raw_prefix(tenant, dataset, split)):
            if info.key == layout.raw_chunk(tenant, dataset, split, reached) and info.size:
                yield info.key, info.size
                reached += info.size


class UploadWriter:
    """One stream of bytes into one file.

    Only `flush` may be called while it runs in another thread: a call that is cancelled leaves
    its thread behind and stores the rest from the next one.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        prefix: tuple[str, str, Split],
        committed: int,
        others: int,
        limits: UploadLimits,
        gate: Gate | None,
    ) -> None:
        """Begin at the committed size.

        Args:
            store: Where the parts go.
            prefix: Tenant, dataset and split.
            committed: Bytes of the file that are stored.
            others: Bytes of the dataset's other files.
            limits: What is too much.
            gate: Asked around every part.
        """
        self._store = store
        self._prefix = prefix
        self._committed = committed
        self._others = others
        self._limits = limits
        self._gate = gate
        self._buffer = bytearray()
        self._flushing = Lock()

    @property
    def received(self) -> int:
        """Where the next byte belongs."""
        return self._committed + len(self._buffer)

    @property
    def is_full(self) -> bool:
        """Whether a whole part waits to be stored."""
        return len(self._buffer) >= self._limits.part_bytes

    def add(self, offset: int | None, data: bytes) -> None:
        """Take bytes, in memory only.

        Args:
            offset: Where they begin in the file; None goes on where the last ones ended.
            data: The bytes.

        Raises:
            OutOfRange: Where the file does not go on at `offset`; names where it does.
            ResourceExhausted: Where the file or the dataset becomes too large.
        """
        if offset is not None and offset != self.received:
            raise self._wrong_offset(
                f"The {self._prefix[2]} file goes on at byte {self.received}, not at {offset}: "
                "send from there.",
                self.received,
            )
        size = self.received + len(data)
        for what, total, limit in (
            (f"{self._prefix[2]} file", size, self._limits.max_file_bytes),
            ("dataset", size + self._others, self._limits.max_dataset_bytes),
        ):
            if total > limit:
                raise ResourceExhausted(
                    f"The {what} is larger than {limit} bytes. Upload fewer rows.",
                    reason=Reason.LIMIT_EXCEEDED,
                    metadata={"limit": str(limit), "committed_size": str(self._committed)},
                )
        self._buffer += data

    def flush(self) -> int:
        """Store what was taken; return the committed size.

        Raises:
            OutOfRange: Where another stream stored a part at this place meanwhile.
            FailedPrecondition: Where the dataset was finalised without these bytes.
            NotFound: Where the dataset was deleted.
        """
        with self._flushing:
            if self._buffer:
                try:
                    self._store_part()
                except (FailedPrecondition, NotFound, OutOfRange):
                    # There is no place for these bytes; what failed otherwise may be tried again.
                    self._buffer.clear()
                    raise
                self._buffer.clear()
            return self._committed

    def _store_part(self) -> None:
        tenant, dataset, split = self._prefix
        key = layout.raw_chunk(tenant, dataset, split, self._committed)
        end = self._committed + len(self._buffer)
        if self._gate is not None:
            self._gate.check_open()
        if not self._store.create(key, bytes(self._buffer)):
            stored = Uploads(self._store, self._limits).committed(tenant, dataset, split)
            raise self._wrong_offset(
                f"Another stream has stored bytes of the {split} file meanwhile: it goes on at "
                f"byte {stored}.",
                stored,
            )
        if self._gate is not None:
            try:
                self._gate.check_kept(end)
            except (FailedPrecondition, NotFound):
                # Finalised or deleted between the look and the store: nobody would find it.
                self._store.delete(key)
                raise
        self._committed = end

    def _wrong_offset(self, message: str, committed: int) -> OutOfRange:
        return OutOfRange(
            message,
            metadata={"committed_size": str(committed), "split": str(self._prefix[2])},
        )
