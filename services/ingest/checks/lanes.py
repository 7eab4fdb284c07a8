"""Workbenches side by side, each of one thread and in a thread of its own.

Knows nothing of what is done in them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from services.ingest.workbench import Workbench

T = TypeVar("T")

_PATIENCE_SECONDS = 0.02


class Lanes:
    """Takes work, and does as much of it at the same time as it has lanes."""

    def __init__(self, bench: Workbench, count: int, prepare: Callable[[Workbench], None]) -> None:
        """Start without a workbench; one is opened where work comes and none is idle.

        Args:
            bench: Beside which they are opened; it shares the directory and nothing else.
            count: How many, at most.
            prepare: Called once for each workbench, in its thread.
        """
        self._bench = bench
        self._prepare = prepare
        self._threads = ThreadPoolExecutor(count, "lane")
        self._opened = ExitStack()
        self._idle: deque[Workbench] = deque()
        self._submitted: list[Future[Any]] = []

    def __enter__(self) -> Self:
        """Return the open lanes."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what is being done, or stop it after an error; what waits is not begun."""
        self._threads.shutdown(wait=error is None, cancel_futures=True)
        while not all(work.done() for work in self._submitted):
            # Between two statements there is nothing to interrupt, so once may not be enough.
            self._bench.interrupt()
            time.sleep(_PATIENCE_SECONDS)
        self._threads.shutdown()
        self._opened.close()

    def submit(self, work: Callable[[Workbench], T]) -> Future[T]:
        """Let work begin as soon as a lane is free."""
        submitted = self._threads.submit(self._do, work)
        self._submitted.append(submitted)
        return submitted

    def _do(self, work: Callable[[Workbench], T]) -> T:
        try:
            bench = self._idle.pop()
        except IndexError:
            bench = self._opened.enter_context(self._bench.beside())
            self._prepare(bench)
        try:
            return work(bench)
        finally:
            self._idle.append(bench)
