"""A process of the sample: `python -m tests.integration.common.sample_process FLAGS`."""

from __future__ import annotations

import asyncio
import sys

from services.common.server import Application, run
from services.common.settings import load
from services.common.storage import open_store
from tests.integration.common.sample_service import SampleServicer, SampleSettings, application


def build(settings: SampleSettings) -> Application:
    open_store(settings.store_url, settings.store_options)
    loop = asyncio.get_running_loop()

    async def fail_when_told() -> None:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if line:
            raise RuntimeError(line.strip())

    return application(
        settings,
        SampleServicer(),
        background=(fail_when_told,),
        close=(lambda: print("closed", flush=True),),  # noqa: T201 - the test reads it
    )


if __name__ == "__main__":
    chosen = load(SampleSettings, sys.argv[1:])
    run(lambda: build(chosen), chosen)
