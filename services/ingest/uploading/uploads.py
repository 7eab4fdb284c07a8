"""Bytes on their way in: parts in the object store, created once, resumed by offset.

Parts lie end to end; a file's committed size is as far as they reach from 0 without a gap.
Whatever a stream brought is stored when it ends, so that nothing is sent twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from services.common import layout
from services.common.errors import (
    DataLoss,
    FailedPrecondition,
    IsoglossError,
    NotFound,
    OutOfRange,
    Reason,
    ResourceExhausted,
)
from services.common.storage import ObjectStore
from services.ingest.dataset import Split
from services.ingest.uploading.prefix_sums import PrefixSums


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """How much may be uploaded, and in which pieces it is stored."""

    max_file_bytes: int = 5 << 30
    max_dataset_bytes: int = 5 << 30
    """All files of one dataset together."""

    part_bytes: int = 8 << 20
    """Bytes of one stored part; one upload holds about three times this in memory."""

    def check(self, sizes: Mapping[Split, int]) -> None:
        """Make sure that a dataset may have files of these sizes.

        Raises:
            ResourceExhausted: Where one of them, or all together, are too large.
        """
        for what, size, limit, setting in (
            *(
                (f"{split} file", size, self.max_file_bytes, "max_file_bytes")
                for split, size in sizes.items()
            ),
            ("dataset", sum(sizes.values()), self.max_dataset_bytes, "max_dataset_bytes"),
        ):
            if size > limit:
                raise ResourceExhausted(
                    f"The {what} is larger than {limit} bytes ({setting}). Upload fewer rows.",
                    reason=Reason.LIMIT_EXCEEDED,
                    metadata={"limit": str(limit), "setting": setting},
                )


class Gate(Protocol):
    """Says whether a file still takes bytes: others finalise and delete it meanwhile."""

    def check_open(self, size: int = 0) -> None:
        """Look before a part is stored.

        Args:
            size: Bytes of the part; 0 where none is there yet.

        Raises:
            FailedPrecondition: Where the dataset was finalised.
            NotFound: Where it is gone.
            ResourceExhausted: Where its tenant may not store so many bytes more.
        """
        ...

    def check_kept(self, end: int, size: int) -> None:
        """Make sure that a part which was just stored belongs to the dataset; count it.

        Args:
            end: Where the part ends in its file.
            size: Its bytes.

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
        self.limits = limits
        self.sums = PrefixSums()
        """Of what was stored through this process."""

    def committed(self, tenant: str, dataset: str, split: Split) -> int:
        """Return how many bytes are stored without a gap from the beginning."""
        return sum(size for _, size in self.parts(tenant, dataset, split))

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
        return UploadWriter(
            uploads=self,
            store=self._store,
            prefix=(tenant, dataset, split),
            sizes=self.sizes(tenant, dataset),
            gate=gate,
        )

    def read(
        self, tenant: str, dataset: str, split: Split, size: int, *, start: int = 0
    ) -> Iterator[bytes]:
        """Yield the first `size` bytes of a file, from `start` on.

        Raises:
            DataLoss: Where fewer bytes are stored.
        """
        begin = 0
        for key, part_size in self.parts(tenant, dataset, split):
            end = min(begin + part_size, size)
            first = max(begin, start)
            if first < end:
                yield from self._store.get(key, offset=first - begin, length=end - first)
            begin = end
            if begin == size:
                return
        if left := size - begin:
            raise DataLoss(
                f"The stored bytes of the {split} file end {left} bytes before their end.",
                metadata={"dataset": dataset, "split": split},
            )

    def sha256(self, tenant: str, dataset: str, split: Split, size: int) -> str:
        """Return the sha256 of the first `size` bytes of a file, in lower-case hexadecimal.

        Of what came through this process, it is that of the bytes as they came: who validates the
        file reads what is stored, and compares.
        """
        reached, digest = self.sums.start((tenant, dataset, split))
        if reached > size:
            reached, digest = 0, hashlib.sha256()
        for chunk in self.read(tenant, dataset, split, size, start=reached):
            digest.update(chunk)
        return digest.hexdigest()

    def remove(self, tenant: str, dataset: str, *, keep: Collection[str] = ()) -> None:
        """Remove the uploaded bytes of a dataset, but for the parts whose keys are to be kept."""
        self.sums.forget(tenant, dataset)
        for info in list(self._store.list(layout.raw_prefix(tenant, dataset))):
            if info.key not in keep:
                self._store.delete(info.key)

    def parts(self, tenant: str, dataset: str, split: Split) -> Iterator[tuple[str, int]]:
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

    One thread adds while another stores what was added before, so that neither waits for the
    other. A call that is cancelled leaves its thread behind and stores the rest from the next
    one: of several that store, each waits for the one before it.
    """

    def __init__(
        self,
        *,
        uploads: Uploads,
        store: ObjectStore,
        prefix: tuple[str, str, Split],
        sizes: Mapping[Split, int],
        gate: Gate | None,
    ) -> None:
        """Begin at the committed size.

        Args:
            uploads: All uploads.
            store: Where the parts go.
            prefix: Tenant, dataset and split.
            sizes: Bytes that are stored of each of the dataset's files.
            gate: Asked around every part.
        """
        self._uploads = uploads
        self._store = store
        self._prefix = prefix
        self._sizes = dict(sizes)
        self._gate = gate
        self._committed = self._received = self._sizes.get(prefix[2], 0)
        self._taken: list[bytes] = []
        self._taken_size = 0
        self._part = b""
        self._failure: IsoglossError | None = None
        self._taking, self._storing = Lock(), Lock()

    @property
    def received(self) -> int:
        """Where the next byte belongs."""
        return self._received

    @property
    def is_full(self) -> bool:
        """Whether a whole part waits to be stored."""
        return self._taken_size >= self._uploads.limits.part_bytes

    def add(self, offset: int | None, data: bytes) -> None:
        """Take bytes, in memory only.

        Args:
            offset: Where they begin in the file; None goes on where the last ones ended.
            data: The bytes.

        Raises:
            OutOfRange: Where the file does not go on at `offset`; names where it does.
            ResourceExhausted: Where the file or the dataset becomes too large.
            IsoglossError: Where there was no place for bytes before these: what `store` raised.
        """
        with self._taking:
            if self._failure is not None:
                # What follows bytes that are lost must not take their place.
                raise self._failure
            if offset is not None and offset != self._received:
                raise self._wrong_offset(
                    f"The {self._prefix[2]} file goes on at byte {self._received}, not at "
                    f"{offset}: send from there.",
                    self._received,
                )
            size = self._received + len(data)
            self._uploads.limits.check({**self._sizes, self._prefix[2]: size})
            if data:
                self._taken.append(data)
                self._taken_size += len(data)
                self._received = size

    def store(self) -> int:
        """Store what was taken as one part; return the committed size.

        What fails because the store or the database does not answer may be tried again.

        Raises:
            OutOfRange: Where another stream stored a part at this place meanwhile.
            FailedPrecondition: Where the dataset was finalised without these bytes.
            NotFound: Where the dataset was deleted.
            ResourceExhausted: Where its tenant may not store them.
        """
        with self._storing:
            if not self._part:
                with self._taking:
                    self._part = b"".join(self._taken)
                    self._forget_taken()
            if self._part:
                try:
                    self._store_part()
                except (FailedPrecondition, NotFound, OutOfRange, ResourceExhausted) as error:
                    # There is no place for these bytes, nor for any that follow them.
                    with self._taking:
                        self._failure = error
                        self._forget_taken()
                    self._part = b""
                    raise
                self._part = b""
            return self._committed

    def flush(self) -> int:
        """Store all that was taken; return the committed size.

        Raises:
            IsoglossError: As `store`.
        """
        # A part that failed before, and what came behind it.
        self.store()
        return self.store()

    def _forget_taken(self) -> None:
        self._taken = []
        self._taken_size = 0

    def _store_part(self) -> None:
        tenant, dataset, split = self._prefix
        key = layout.raw_chunk(tenant, dataset, split, self._committed)
        size = len(self._part)
        end = self._committed + size
        if self._gate is not None:
            self._gate.check_open(size)
        if not self._store.create(key, self._part):
            stored = self._uploads.committed(tenant, dataset, split)
            raise self._wrong_offset(
                f"Another stream has stored bytes of the {split} file meanwhile: it goes on at "
                f"byte {stored}.",
                stored,
            )
        if self._gate is not None:
            try:
                self._gate.check_kept(end, size)
            except (FailedPrecondition, NotFound):
                # Finalised or deleted between the look and the store: nobody would find it.
                self._store.delete(key)
                raise
        self._uploads.sums.extend(self._prefix, self._committed, self._part)
        self._committed = end

    def _wrong_offset(self, message: str, committed: int) -> OutOfRange:
        return OutOfRange(
            message,
            metadata={"committed_size": str(committed), "split": str(self._prefix[2])},
        )
