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
    """Brings what workers finished to one event loop: all that has come, with one wake-up.

    A wake-up is a system call, and lets go of the interpreter's lock: eight answers of one batch
    would take eight of them.
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
        call.future.add_done_callback(partial(self._note, loop, waiter))
        try:
            return await waiter
        except asyncio.CancelledError:
            call.give_up()
            raise

    def _note(
        self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[Any], done: Future[Any]
    ) -> None:
        """Take what a worker has finished; runs on its thread."""
        self._came.append(partial(_settle, waiter, done))
        # Set before the loop is woken and cleared before it looks: what comes in between is seen.
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed, so nobody waits
                loop.call_soon_threadsafe(self._deliver)

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
