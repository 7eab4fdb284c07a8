"""Published files on this machine: fetched once, verified, bounded.

Previews and findings are read from Parquet; a file never changes, so a copy is good for ever.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from services.ingest.record import StoredFile


class ArtefactCache:
    """Copies of published files in a directory. Thread safe.

    Several processes may share the directory: a copy appears whole or not at all, and a reader
    that has opened one keeps it.
    """

    def __init__(
        self, directory: Path, *, fetch: Callable[[StoredFile, Path], None], max_bytes: int
    ) -> None:
        """Make the directory.

        Args:
            directory: Where the copies lie.
            fetch: Writes a file to a path, verified, all or nothing.
            max_bytes: The copies that were not used for longest go when there are more.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._fetch = fetch
        self._max_bytes = max_bytes
        self._lock = Lock()

    def path(self, file: StoredFile) -> Path:
        """Return a local copy of `file`.

        Raises:
            DataLoss: Where it is absent from the store, or not what was published.
        """
        path = self._directory / f"{file.sha256}.parquet"
        with self._lock:
            if not path.exists():
                self._fetch(file, path)
                self._shrink(keep=path)
            os.utime(path)
        return path

    def lend(self, file: StoredFile, directory: Path) -> Path:
        """Return a local copy of `file` that stays when the cache has no room for it.

        Args:
            file: Which.
            directory: Where the copy lies, on the same disk; the caller removes it.

        Raises:
            DataLoss: As `path`.
        """
        lent = directory / f"{file.sha256}.parquet"
        while not lent.exists():
            # Another process may drop the copy in between.
            with contextlib.suppress(FileNotFoundError):
                lent.hardlink_to(self.path(file))
        return lent

    def _shrink(self, keep: Path) -> None:
        # Another process may remove copies at the same time.
        sizes: list[tuple[float, int, Path]] = []
        for path in self._directory.glob("*.parquet"):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                sizes.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in sizes)
        for _, size, path in sorted(sizes):
            if total <= self._max_bytes:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size
