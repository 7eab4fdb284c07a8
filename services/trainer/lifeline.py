"""Ends this process when the one that started it is gone. Knows nothing of either's work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import IO

from services.common.lifeline import end_with

_EXIT_CODE = 3


def hold_on_to(parent: int, pipe: IO[str], hear: Callable[[str], None]) -> None:
    """Exit at once when `parent` dies, however it dies, and hear what it says until then.

    Two ways, because neither is enough: the kernel's signal needs Linux, and the end of the
    pipe is not seen where another process inherited its other end.

    Args:
        parent: Process id of the one that started this process.
        pipe: Open as long as it lives; read to its end in a thread.
        hear: Takes each line, in that thread.
    """
    end_with(parent)

    def wait_for_the_end() -> None:
        for line in pipe:
            hear(line.rstrip("\n"))
        os._exit(_EXIT_CODE)

    threading.Thread(target=wait_for_the_end, name="lifeline", daemon=True).start()
