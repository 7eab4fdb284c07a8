"""How the messages of a process leave it, the last of them included. Knows not who reads them."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from services.common.errors import DataLoss, IsoglossError
from services.trainer.devices import DeviceUnavailable
from services.trainer.distributed.errors import ClusterFailed
from services.trainer.learning.listening import Cancelled
from services.trainer.messages import Failed, Halted, Message, Progressed, encode

_PROGRESS_SECONDS = 0.2
# The supervisor writes four times a second: more would only fill the pipe.


class Outlet:
    """The way out for messages.

    Args:
        put: Takes each line, without its end.
    """

    def __init__(self, put: Callable[[str], object]) -> None:
        """Keep the way."""
        self._put = put
        self._lock = threading.Lock()
        self._last_progress = float("-inf")

    def tell(self, message: Message) -> None:
        """Put a message, unless it is progress that comes too soon after the last."""
        now = time.monotonic()
        with self._lock:
            if isinstance(message, Progressed):
                if now - self._last_progress < _PROGRESS_SECONDS:
                    return
                self._last_progress = now
            self._put(encode(message))

    def tell_end(self, error: Exception) -> None:
        """Tell how the work ended that raised this; the rest goes to standard error."""
        if isinstance(error, Cancelled):
            self.tell(Halted())
            return
        for line in traceback.format_exception(error):
            sys.stderr.write(line)
        self.tell(failure(error))


def failure(error: Exception) -> Failed:
    """Tell what went wrong, and whether it may go better the next time."""
    if isinstance(error, IsoglossError):
        # A file that is broken in the store stays broken.
        return Failed(message=error.message, retry=not isinstance(error, DataLoss))
    if isinstance(error, DeviceUnavailable | ClusterFailed):
        # Another trainer may have the device, and a cluster gets new nodes.
        return Failed(message=str(error), retry=True)
    if isinstance(error, MemoryError | OSError):
        return Failed(message=f"The trainer's machine failed the run: {error!r}", retry=True)
    ours = type(error).__module__.startswith("services.")
    # Our own errors are written for people; of others the name tells more than the text.
    return Failed(message=str(error) if ours else f"{type(error).__name__}: {error}", retry=False)


def stdout_outlet() -> Outlet:
    """Return the way out over standard output; what libraries print goes to standard error."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return Outlet(lambda line: print(line, file=pipe, flush=True))
