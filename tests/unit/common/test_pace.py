from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from services.common.errors import DeadlineExceeded
from services.common.pace import Pace, paced
from services.common.pace import taken as taken_by_caller


@dataclass(frozen=True)
class Message:
    data: bytes


async def sending(*pieces: tuple[float, bytes]) -> AsyncIterator[Message]:
    for pause, piece in pieces:
        await asyncio.sleep(pause)
        yield Message(piece)


async def taken(
    pieces: Sequence[tuple[float, bytes]], pace: Pace, *, working: float = 0.0
) -> tuple[list[bytes], str]:
    """Return what was taken, and the setting that ended it."""
    found: list[bytes] = []
    try:
        async for _, piece in paced(sending(*pieces), pace):
            found.append(piece)  # what came before an error counts
            await asyncio.sleep(working)
    except DeadlineExceeded as error:
        return found, error.metadata["setting"]
    return found, ""


async def test_what_comes_fast_enough_passes() -> None:
    pieces = [(0.0, b"a" * 100)] * 5

    assert await taken(pieces, Pace(idle_seconds=5, bytes_per_second=100)) == ([b"a" * 100] * 5, "")


@pytest.mark.parametrize("bytes_per_second", [0, 1000])
async def test_silence_ends_a_stream(bytes_per_second: int) -> None:
    pace = Pace(idle_seconds=0.1, bytes_per_second=bytes_per_second)

    assert await taken([(0.0, b"a"), (60.0, b"b")], pace) == ([b"a"], "stream_idle_seconds")


async def test_a_trickle_ends_a_stream() -> None:
    found, setting = await taken(
        [(0.03, b"a")] * 1000, Pace(idle_seconds=0.2, bytes_per_second=1000)
    )

    assert setting == "stream_min_bytes_per_second"
    assert 0 < len(found) < 1000


async def test_any_rate_may_be_allowed() -> None:
    found, setting = await taken([(0.03, b"a")] * 20, Pace(idle_seconds=0.2, bytes_per_second=0))

    assert (len(found), setting) == (20, "")


async def test_the_time_that_this_side_takes_does_not_count() -> None:
    pace = Pace(idle_seconds=0.2, bytes_per_second=1000)

    found, setting = await taken([(0.0, b"a")] * 8, pace, working=0.1)

    assert (len(found), setting) == (8, "")


async def test_a_caller_that_takes_nothing_ends_a_stream() -> None:
    pace = Pace(idle_seconds=0.05, bytes_per_second=1000)

    with pytest.raises(DeadlineExceeded) as raised:
        await taken_by_caller(asyncio.sleep(60), pace, 10)

    assert raised.value.metadata["setting"] == "stream_idle_seconds"


@pytest.mark.parametrize(("bytes_per_second", "size"), [(1, 60), (0, 0)])
async def test_a_message_may_be_taken_at_the_least_rate(bytes_per_second: int, size: int) -> None:
    pace = Pace(idle_seconds=0.01, bytes_per_second=bytes_per_second)

    await taken_by_caller(asyncio.sleep(0.1), pace, size)
