"""A scratch directory for this process, and the end of those whose process died."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from pathlib import Path


class Scratch:
    """A directory that is ours until we close it or die. Made on a local disk."""

    def __init__(self, root: Path) -> None:
        """Make it, and remove what dead processes left beside it.

        Args:
            root: Holds one directory and one lock file for each living process.
        """
        root.mkdir(parents=True, exist_ok=True)
        self.path = root / uuid.uuid4().hex
        self._lock = _lock(self.path.with_suffix(".lock"))
        self.path.mkdir()
        for lock_file in root.glob("*.lock"):
            abandoned = _lock(lock_file)
            if abandoned is not None:
                _remove(lock_file.with_suffix(""), lock_file, abandoned)

    def close(self) -> None:
        """Remove the directory."""
        if self._lock is not None:
            _remove(self.path, self.path.with_suffix(".lock"), self._lock)
            self._lock = None


def _lock(path: Path) -> int | None:
    """Lock a file until this process ends; None where another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(directory: Path, lock_file: Path, descriptor: int) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    lock_file.unlink(missing_ok=True)
    os.close(descriptor)
