"""Verified files on this machine's disk, by their sha256, bounded. Knows no models."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from services.common.errors import Reason, ResourceExhausted
from services.inference.manifests import Artifact

_log = structlog.get_logger()

_NAME = re.compile(r"[0-9a-f]{64}")

# A file under another name that has not grown for so long is nobody's any more.
_FETCH_SECONDS = 3600


class FileCache:
    """A directory of files named by what they hold; those used longest ago go first.

    Thread safe. Two processes may share the directory: files appear whole, and what another
    process removes is fetched again.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        """Use `directory`, created where it is missing.

        Args:
            directory: Belongs to the cache alone.
            max_bytes: Size of all files together.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._expected: Counter[str] = Counter()
        # What a process that died left half fetched.
        for path, stat in list(self._files()):
            if not _NAME.fullmatch(path.name) and time.time() - stat.st_mtime > _FETCH_SECONDS:
                path.unlink(missing_ok=True)

    @contextmanager
    def hold(self, artifact: Artifact, fetch: Callable[[Artifact, Path], None]) -> Iterator[Path]:
        """Provide the file, which stays where it is until the block ends.

        Args:
            artifact: Which file.
            fetch: Brings it, verified, to a path, where it is not here yet.

        Raises:
            ResourceExhausted: Where the file does not fit into the cache.
        """
        path = self._directory / artifact.sha256
        with self._lock:
            self._held[artifact.sha256] += 1
        try:
            if not _intact(path, artifact):
                path.unlink(missing_ok=True)
                self._fetch(artifact, path, fetch)
            # The last use, for eviction; a file system may not keep access times.
            with suppress(FileNotFoundError):
                os.utime(path)
            yield path
        finally:
            with self._lock:
                self._held[artifact.sha256] -= 1
                if not self._held[artifact.sha256]:
                    del self._held[artifact.sha256]

    def _fetch(
        self, artifact: Artifact, path: Path, fetch: Callable[[Artifact, Path], None]
    ) -> None:
        with self._lock:
            self._make_room(artifact)
            self._expected[artifact.sha256] += artifact.size
        try:
            fetch(artifact, path)
        finally:
            with self._lock:
                self._expected[artifact.sha256] -= artifact.size

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._directory.iterdir():
            with suppress(FileNotFoundError):
                yield path, path.stat()

    def _make_room(self, artifact: Artifact) -> None:
        """Remove files until `artifact` fits, except those that are in use."""
        files = [file for file in self._files() if _NAME.fullmatch(file[0].name)]
        used = sum(stat.st_size for _, stat in files) + self._expected.total()
        for path, stat in sorted(files, key=lambda file: file[1].st_mtime_ns):
            if used + artifact.size <= self._max_bytes:
                return
            if path.name not in self._held:
                path.unlink(missing_ok=True)
                used -= stat.st_size
                _log.info("cached_file_removed", file=path.name, bytes=stat.st_size)
        if used + artifact.size > self._max_bytes:
            raise ResourceExhausted(
                f"A file of {artifact.size} bytes does not fit into the cache of "
                f"{self._max_bytes} bytes beside the files in use. Let the operator raise "
                "ISOGLOSS_INFERENCE_CACHE_BYTES.",
                reason=Reason.LIMIT_EXCEEDED,
                metadata={"size": str(artifact.size), "limit": str(self._max_bytes)},
            )


def _intact(path: Path, artifact: Artifact) -> bool:
    """Return whether the file is here and still what its name says."""
    try:
        if path.stat().st_size != artifact.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256
    except FileNotFoundError:
        return False
