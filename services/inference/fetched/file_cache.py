"""Verified files on this machine's disk, by their sha256, bounded. Knows no models.

Any number of processes may share the directory. Locks of the file system say what is in use,
so whatever a process held that was killed is free at once:

- `{sha256}` is whole. Whoever uses it holds a shared lock; only who gets an exclusive one, and
  so nobody's file, may remove it.
- `{sha256}.part` is on its way, under an exclusive lock, and has its full size from the start:
  the sizes in the directory are what is used and what is promised.
- `.lock` is held while room is made, and while a file gets its name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import structlog

from services.inference.artifact import Artifact
from services.inference.fetched.room import full, room_on_disk

_log = structlog.get_logger()

_PART = ".part"
_LOCK = ".lock"

Fetch = Callable[[Artifact, BinaryIO], None]
"""Writes the file's bytes, verified, into an open file of its size."""


class FileCache:
    """A directory of files named by what they hold; those used longest ago go first.

    Thread safe, and safe beside other processes in the same directory.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        """Use `directory`, created where it is missing.

        Args:
            directory: Belongs to caches alone.
            max_bytes: Size of all files together, those on their way included.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._max_bytes = max_bytes
        # Locks of the file system are between open files; this one is cheaper between threads.
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, artifact: Artifact, fetch: Fetch) -> Iterator[Path]:
        """Provide the file, which stays where it is until the block ends.

        Args:
            artifact: Which file.
            fetch: Brings it where it is not here yet.

        Raises:
            ResourceExhausted: Where the file does not fit into the cache, or onto the disk.
        """
        path = self._directory / artifact.sha256
        with ExitStack() as held:
            while not self._found(path, artifact, held):
                if self._fetched(path, artifact, fetch, held):
                    break
            # The last use, for eviction; a file system may not keep access times.
            os.utime(path)
            yield path

    def _found(self, path: Path, artifact: Artifact, held: ExitStack) -> bool:
        """Hold the file where it is here and still what its name says."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        with ExitStack() as opened:
            opened.enter_context(file)
            fcntl.flock(file, fcntl.LOCK_SH)
            if not _is_at(file, path):
                return False  # removed before the lock
            if not _intact(file, artifact):
                _log.warning("cached_file_damaged", file=path.name)
                if _is_at(file, path):  # and not a whole one that somebody brought meanwhile
                    path.unlink(missing_ok=True)
                return False
            held.enter_context(opened.pop_all())
        return True

    def _fetched(self, path: Path, artifact: Artifact, fetch: Fetch, held: ExitStack) -> bool:
        """Bring the file and hold it, unless somebody else brings it: then wait, and say no."""
        part = path.with_name(path.name + _PART)
        with ExitStack() as opened:
            file = opened.enter_context(_opened(part))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Until it is whole or given up; who holds it then shares it.
                fcntl.flock(file, fcntl.LOCK_SH)
                return False
            if not _is_at(file, part):
                return False  # brought, or given up, before the lock
            if path.exists():
                part.unlink()
                return False
            try:
                self._make_room(file, artifact)
                with room_on_disk(artifact, self._directory):
                    fetch(artifact, file)
                # A file that changes its name while another process adds up could be missed.
                with self._alone():
                    part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            fcntl.flock(file, fcntl.LOCK_SH)
            if not _is_at(file, path):
                return False  # removed while the lock changed
            held.enter_context(opened.pop_all())
        return True

    def _make_room(self, part: BinaryIO, artifact: Artifact) -> None:
        """Remove files until `artifact` fits, except those in use, and promise it the room."""
        with self._alone():
            part.truncate(0)
            files = sorted(self._files(), key=lambda file: file[1].st_mtime_ns)
            used = sum(stat.st_size for _, stat in files)
            for path, stat in files:
                if used + artifact.size <= self._max_bytes:
                    break
                if _removed(path):
                    used -= stat.st_size
                    _log.info("cached_file_removed", file=path.name, bytes=stat.st_size)
            if used + artifact.size > self._max_bytes:
                raise full(
                    f"A file of {artifact.size} bytes does not fit into the cache of "
                    f"{self._max_bytes} bytes beside the files in use. Let the operator raise "
                    "ISOGLOSS_INFERENCE_CACHE_BYTES.",
                    artifact,
                    self._max_bytes,
                )
            part.truncate(artifact.size)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock, (self._directory / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._directory.iterdir():
            with suppress(FileNotFoundError):
                if path.name != _LOCK:
                    yield path, path.stat()


def _opened(part: Path) -> BinaryIO:
    """Open for reading and writing at any place, made where it is missing."""
    return os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "r+b")


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is the one at `path`, and not one that was there before."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _removed(path: Path) -> bool:
    """Remove a file unless somebody uses it; tell whether it is gone."""
    try:
        # For writing too: an exclusive lock on a network file system needs it.
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def _intact(file: BufferedReader, artifact: Artifact) -> bool:
    if os.fstat(file.fileno()).st_size != artifact.size:
        return False
    return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256
