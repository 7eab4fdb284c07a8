"""Stages what is read while more is read, side by side and never far behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from services.ingest.checks.lanes import Lanes
from services.ingest.checks.staging import SPLIT_NUMBERS, Stage, stage_parent, stage_records
from services.ingest.dataset import Limits, Records, Split
from services.ingest.workbench import Workbench


class Stages:
    """All rows of all files, in order."""

    def __init__(self, lanes: Lanes, limits: Limits, *, most_waiting: int) -> None:
        """Start without any.

        Args:
            lanes: Where they are staged, prepared by `cleaning_rows`.
            limits: What is too long.
            most_waiting: Runs of records that lie in the scratch directory, staged just now or
                next, before who reads has to wait.
        """
        self._lanes = lanes
        self._limits = limits
        self._most_waiting = most_waiting
        self._waiting: deque[Future[Stage]] = deque()
        self._stages: list[Stage] = []

    def add_parent(self, split: Split, file: Path) -> None:
        """Append the rows of a split that a dataset has already."""
        self._submit(partial(stage_parent, split=split, file=file))

    def add(self, records: Records) -> None:
        """Append rows of an uploaded file.

        Raises:
            Exception: What staging raised since; then nothing more can be added.
        """
        self._submit(partial(stage_records, records=records, limits=self._limits))

    def forget(self, split: Split) -> None:
        """Leave out what was added of an uploaded file."""
        self._wait(0)
        self._stages = [stage for stage in self._stages if stage.split != SPLIT_NUMBERS[split]]

    def finish(self) -> tuple[Stage, ...]:
        """Wait until all is staged; return it in order."""
        self._wait(0)
        return tuple(self._stages)

    def _submit(self, work: Callable[[Workbench], Stage]) -> None:
        self._wait(self._most_waiting - 1)
        self._waiting.append(self._lanes.submit(work))

    def _wait(self, most: int) -> None:
        while len(self._waiting) > most:
            self._stages.append(self._waiting.popleft().result())
