"""Tells those who wait in this process that something changed. Knows not what."""

from __future__ import annotations

import asyncio
import threading


class Bell:
    """Wakes coroutines and threads; a ring that nobody waits for is forgotten.

    It only makes things sooner: who waits looks for itself after a while, because other
    processes change the database too.
    """

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._condition = threading.Condition()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def ring(self) -> None:
        """Wake everybody who waits. Any thread may call it."""
        with self._condition:
            self._condition.notify_all()
            for loop, event in self._waiters:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

    def wait_here(self, seconds: float) -> None:
        """Block this thread until the bell rings, at most so long."""
        with self._condition:
            self._condition.wait(seconds)

    async def wait(self, seconds: float) -> None:
        """Sleep until the bell rings, at most so long."""
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        with self._condition:
            self._waiters.add(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter[1].wait()
        except TimeoutError:
            pass
        finally:
            with self._condition:
                self._waiters.discard(waiter)
