"""Ends streams of callers who send or take too little: each of them keeps memory and a place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from services.common.errors import DeadlineExceeded

_LONGEST_SECONDS = 3600.0
"""What a message may take at any rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The least that a caller must send, or take."""

    idle_seconds: float
    """Longest wait for one message."""

    bytes_per_second: int
    """Least rate over any `idle_seconds` that were spent waiting for the caller; 0 takes any."""

    advice: str = "Send it again."
    """What a caller may do whose stream was ended, in a sentence."""


class WithData(Protocol):
    """A message that brings bytes of a file."""

    @property
    def data(self) -> bytes:
        """The bytes."""
        ...


M = TypeVar("M", bound=WithData)


async def paced(requests: AsyncIterator[M], pace: Pace) -> AsyncIterator[tuple[M, bytes]]:
    """Yield messages, and the bytes that each brings, as long as they come fast enough.

    Only the time that is spent waiting for the caller counts: a slow store is not its fault.
    Take the bytes from here: protobuf copies them whenever a message is asked for them.

    Args:
        requests: What the caller sends.
        pace: The least that it must send.

    Raises:
        DeadlineExceeded: Naming the setting and what was found.
    """
    clock = asyncio.get_running_loop().time
    waited, received = 0.0, 0
    while True:
        began = clock()
        try:
            async with asyncio.timeout(pace.idle_seconds):
                request = await anext(requests, None)
        except TimeoutError:
            raise DeadlineExceeded(
                f"Nothing came for {pace.idle_seconds:g} seconds (stream_idle_seconds). "
                f"{pace.advice}",
                metadata={"setting": "stream_idle_seconds"},
            ) from None
        if request is None:
            return
        waited += clock() - began
        data = request.data
        received += len(data)
        if waited >= pace.idle_seconds:
            if received < pace.bytes_per_second * waited:
                raise DeadlineExceeded(
                    f"{received} bytes came in {waited:.1f} seconds, and {pace.bytes_per_second} a "
                    f"second are the least (stream_min_bytes_per_second). {pace.advice}",
                    metadata={"setting": "stream_min_bytes_per_second"},
                )
            waited, received = 0.0, 0
        yield request, data


async def taken(writing: Awaitable[None], pace: Pace, size: int) -> None:
    """Wait until the caller has taken a message.

    Args:
        writing: Ends when there is room for the next message.
        pace: The least that it must take.
        size: Bytes of the message, which may take their time at the least rate.

    Raises:
        DeadlineExceeded: Naming the setting.
    """
    rate = pace.bytes_per_second
    try:
        slow = min(size / rate, _LONGEST_SECONDS) if rate else _LONGEST_SECONDS
        async with asyncio.timeout(pace.idle_seconds + slow):
            await writing
    except TimeoutError:
        raise DeadlineExceeded(
            f"Nothing was taken for {pace.idle_seconds:g} seconds (stream_idle_seconds), and "
            f"{rate} bytes a second are the least (stream_min_bytes_per_second): call again, and "
            "read on.",
            metadata={"setting": "stream_idle_seconds"},
        ) from None
