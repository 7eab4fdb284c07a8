from __future__ import annotations

import asyncio

from services.ingest.__main__ import _repeat


async def test_deletions_go_on_after_any_error() -> None:
    loop = asyncio.get_running_loop()
    again = asyncio.Event()
    calls = 0

    def finish() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyError("something that nobody thought of")
        loop.call_soon_threadsafe(again.set)

    task = asyncio.create_task(_repeat(finish, 0, "deletions"))
    await asyncio.wait(
        {task, waiting := asyncio.create_task(again.wait())},
        timeout=20,
        return_when=asyncio.FIRST_COMPLETED,
    )
    waiting.cancel()
    task.cancel()

    assert again.is_set()
