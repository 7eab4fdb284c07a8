"""Ends a validation that takes too long, in Python or inside DuckDB."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Timer
from types import TracebackType
from typing import Self

from services.ingest.finding import Code, Finding, Refused


class TimeLimit:
    """Counts from its creation; as a context it interrupts a statement that runs too long."""

    def __init__(self, seconds: float, interrupt: Callable[[], None]) -> None:
        """Start the clock.

        Args:
            seconds: How long.
            interrupt: Called from another thread when they are over.
        """
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._timer = Timer(seconds, interrupt)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Arm the interruption."""
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disarm it."""
        self._timer.cancel()

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._end

    def check(self) -> None:
        """Refuse the dataset where the time is over.

        Raises:
            Refused: Then.
        """
        if self.is_over:
            raise self.refusal()

    def refusal(self) -> Refused:
        """Return what is said of a dataset that takes too long."""
        return Refused(
            Finding(
                code=Code.TIME_LIMIT,
                message=f"The files could not be checked within {self._seconds:.0f} seconds.",
                fix="Upload less, or ask the operator for more time (max_validation_seconds).",
            )
        )
