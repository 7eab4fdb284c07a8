"""Bytes on their way in: parts in the object store, created once, resumed by offset.

Parts lie end to end; a file's committed size is as far as they reach from 0 without a gap.
Whatever a stream brought is stored when it ends, so that nothing is sent twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from functools import partial

from services.common import layout
from services.common.errors import DataLoss
from services.common.storage import ObjectStore
from services.ingest.dataset import Split
from services.ingest.uploading.limits import UploadLimits
from services.ingest.uploading.prefix_sums import PrefixSums
from services.ingest.uploading.writer import Gate, UploadWriter


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
            store=self._store,
            limits=self.limits,
            sums=self.sums,
            stored=partial(self.committed, tenant, dataset, split),
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
