"""Stops work that runs in another thread, in Python or inside DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock


class Cancelled(Exception):
    """The work was told to stop: undo nothing, publish nothing."""


class Cancellation:
    """One flag, and what to call when it is raised. Thread safe."""

    def __init__(self) -> None:
        """Start uncancelled."""
        self._event = Event()
        self._lock = Lock()
        self._interrupt: Callable[[], None] | None = None

    @property
    def is_cancelled(self) -> bool:
        """Whether the work was told to stop."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Tell the work to stop, and interrupt what is attached."""
        self._event.set()
        with self._lock:
            if self._interrupt is not None:
                self._interrupt()

    def attach(self, interrupt: Callable[[], None] | None) -> None:
        """Name what ends a long step early; None where there is none any more."""
        with self._lock:
            self._interrupt = interrupt

    def check(self) -> None:
        """Raise where the work was told to stop.

        Raises:
            Cancelled: Then.
        """
        if self._event.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> bool:
        """Wait until the work is told to stop, at most `seconds`; tell whether it was."""
        return self._event.wait(seconds)
