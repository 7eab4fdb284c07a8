"""Where the event loop waits for the workers."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from services.inference.dispatcher import Call

T = TypeVar("T")


async def answered(call: Call[T]) -> T:
    """Return the call's answer or raise its error; a waiter that is cancelled gives it up."""
    try:
        return await asyncio.wrap_future(call.future)
    except asyncio.CancelledError:
        call.give_up()
        raise
