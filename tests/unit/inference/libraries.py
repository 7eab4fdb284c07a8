"""Libraries over stores that a test watches."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from services.common.storage import ObjectStore
from services.inference.engines.onnx import LocalEngines
from services.inference.library import Bounds, Library, open_library


def library(
    store: ObjectStore,
    directory: Path,
    *,
    disk: int = 10**8,
    memory: int = 10**9,
    clock: Callable[[], float] = time.monotonic,
) -> Library:
    """Open a library over `store` that keeps what it has in `directory`."""
    return open_library(
        lambda: store,
        LocalEngines(threads=1),
        directory,
        Bounds(disk=disk, memory=memory),
        clock=clock,
    )
