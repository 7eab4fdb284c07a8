"""Directories that live as long as the work in them, even where a process is killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

_LOCK = ".lock"


class Scratch:
    """A fresh directory, removed at the end of the `with` block.

    A lock inside says that it is in use; what a killed process left has a free lock and is
    removed by `sweep`.

    Args:
        root: Where; created when missing.
        prefix: Start of its name.
    """

    def __init__(self, root: Path, prefix: str) -> None:
        """Create nothing yet."""
        self._root = root
        self._prefix = prefix

    def __enter__(self) -> Path:
        """Create the directory."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._path = Path(tempfile.mkdtemp(prefix=f"{self._prefix}-", dir=self._root)).resolve()
        self._lock = os.open(self._path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self._path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the directory and all in it."""
        shutil.rmtree(self._path, ignore_errors=True)
        os.close(self._lock)


def sweep(root: Path) -> int:
    """Remove what killed processes of this machine left under `root`; return how many."""
    removed = 0
    for path in root.iterdir() if root.is_dir() else ():
        try:
            lock = os.open(path / _LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
        finally:
            os.close(lock)
    return removed
