"""The command line, run as a person runs it."""

from __future__ import annotations

from typing import Protocol

from typer.testing import Result


class Run(Protocol):
    """Runs one command against the scripted suite."""

    def __call__(
        self, *arguments: str, terminal: bool = False, stdin: str | bytes | None = None
    ) -> Result:
        """Return what it printed and how it ended."""
        ...
