"""Stages what is read while more is read: a thread of its own, never far behind.

Until it has ended, the workbench is that thread's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from services.ingest.checks.staging import (
    SPLIT_NUMBERS,
    Stage,
    open_staged,
    stage_parent,
    stage_records,
)
from services.ingest.dataset import Limits, Records, Split
from services.ingest.workbench import Workbench

_MOST_WAITING = 2
"""Runs of records that lie in the scratch directory, staged just now or next, before who reads
has to wait."""


class Stages:
    """All rows of all files, in order."""

    def __init__(self, bench: Workbench, limits: Limits, *, prepare: Callable[[], None]) -> None:
        """Start without any.

        Args:
            bench: Where to.
            limits: What is too long.
            prepare: Called once before anything is staged, in that thread.
        """
        self._bench = bench
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "stages")
        self._waiting: deque[Future[None]] = deque([self._thread.submit(prepare)])
        self._stages: list[Stage] = []

    def __enter__(self) -> Self:
        """Return the open stages."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for the thread; what waits for it is not staged any more."""
        self._thread.shutdown(cancel_futures=True)

    def add_parent(self, split: Split, file: Path) -> None:
        """Append the rows of a split that a dataset has already."""
        self._submit(lambda: stage_parent(self._bench, split, file))

    def add(self, records: Records) -> None:
        """Append rows of an uploaded file.

        Raises:
            Exception: What the thread raised since; then nothing more can be added.
        """
        self._submit(lambda: stage_records(self._bench, records, self._limits))

    def forget(self, split: Split) -> None:
        """Leave out what was added of an uploaded file."""
        self._wait(0)
        self._stages = [stage for stage in self._stages if stage.split != SPLIT_NUMBERS[split]]

    def open(self) -> int:
        """Create the view `staged` when all is done; return how many rows it has."""
        self._wait(0)
        return open_staged(self._bench, self._stages)

    def _submit(self, work: Callable[[], Stage]) -> None:
        self._wait(_MOST_WAITING - 1)
        self._waiting.append(self._thread.submit(lambda: self._stages.append(work())))

    def _wait(self, most: int) -> None:
        while len(self._waiting) > most:
            self._waiting.popleft().result()
