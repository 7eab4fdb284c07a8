"""Where the event loop waits for the workers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from services.inference.dispatcher import Call

T = TypeVar("T")


class Answers:
    """Brings what workers finished to one event loop: all that came together, with one wake-up.

    A wake-up is a system call and lets go of the interpreter's lock: a worker that woke the loop
    for the first answer of a batch would stand behind it before it could give the second.
    """

    def __init__(self) -> None:
        """Belong to whichever loop asks first."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._came: deque[Callable[[], None]] = deque()
        self._woken = False

    async def of(self, call: Call[T]) -> T:
        """Return the call's answer or raise its error; a waiter that is cancelled gives it up."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        call.future.add_done_callback(partial(self._note, waiter))
        if call.future.done():
            # Whoever set it may have woken the loop before anybody waited.
            self.wake()
        try:
            return await waiter
        except asyncio.CancelledError:
            call.give_up()
            raise

    def wake(self) -> None:
        """Let the loop look at what came; for whoever has set futures, on any thread."""
        # Set before the loop is woken and cleared before it looks: what comes in between is seen.
        if self._came and not self._woken and self._loop is not None:
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed, so nobody waits
                self._loop.call_soon_threadsafe(self._deliver)

    def _note(self, waiter: asyncio.Future[Any], done: Future[Any]) -> None:
        """Keep what a worker has finished until the loop is woken."""
        self._came.append(partial(_settle, waiter, done))

    def _deliver(self) -> None:
        self._woken = False
        while self._came:
            self._came.popleft()()


def _settle(waiter: asyncio.Future[T], done: Future[T]) -> None:
    if waiter.done():
        return
    error = done.exception()
    if error is None:
        waiter.set_result(done.result())
    else:
        waiter.set_exception(error)
