"""Tells a process that whoever started it is gone, however it went. Knows neither's work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

_STDIN = 0
_BYTES = 4096


def when_stdin_ends(call: Callable[[], None]) -> None:
    """Call `call`, in a thread, when standard input ends.

    A pipe ends for every reader when its writer is killed, on every system and at once; nothing
    has to be asked again and again, and no signal can be missed.
    """

    def wait() -> None:
        # Not through `sys.stdin`: its lock, held here, would stop the end of the interpreter.
        while os.read(_STDIN, _BYTES):
            pass
        call()

    threading.Thread(target=wait, name="starter", daemon=True).start()
