"""How work in threads lives and ends with the service that it runs beside. Knows no work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until_cancelled(stop: Callable[[], None]) -> None:
    """Wait until the service ends, then stop what runs beside it.

    Args:
        stop: Blocks until it has ended; called in a thread, and waited for whatever happens.
    """
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.shield(asyncio.to_thread(stop))
