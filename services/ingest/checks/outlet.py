"""Where the files of a verdict go while they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Outlet(Protocol):
    """Takes files from when they are begun on."""

    def begin(self, path: Path, content_hash: str) -> None:
        """Take a file that is about to be written, from front to back.

        Args:
            path: Where.
            content_hash: The verdict's.
        """
        ...

    def finish(self, path: Path) -> None:
        """Learn that a file is whole."""
        ...


class Nowhere:
    """Leaves files where they are."""

    def begin(self, path: Path, content_hash: str) -> None:
        """Do nothing."""

    def finish(self, path: Path) -> None:
        """Do nothing."""
