"""The process of one attempt: `python -m services.trainer.run`, started by the supervisor.

Reads its spec from the first line of standard input and tells what happens on standard output,
one message a line. It ends when it has told `Finished`, `Failed` or `Halted`, or when its parent
dies. A further line, `HALT`, asks it to leave a checkpoint and stop.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from typing import IO

from services.common.errors import DataLoss, IsoglossError
from services.common.storage import open_store
from services.trainer.devices import DeviceUnavailable
from services.trainer.lifeline import hold_on_to
from services.trainer.messages import Failed, Halted, Message, Progressed, encode
from services.trainer.spec import HALT, RunSpec

_PROGRESS_SECONDS = 0.2
# The supervisor writes four times a second: more would only fill the pipe.


class Outlet:
    """The pipe to the supervisor."""

    def __init__(self, pipe: IO[str]) -> None:
        """Keep the pipe."""
        self._pipe = pipe
        self._lock = threading.Lock()
        self._last_progress = float("-inf")

    def tell(self, message: Message) -> None:
        """Write a message, unless it is progress that comes too soon after the last."""
        now = time.monotonic()
        with self._lock:
            if isinstance(message, Progressed):
                if now - self._last_progress < _PROGRESS_SECONDS:
                    return
                self._last_progress = now
            self._pipe.write(encode(message) + "\n")
            self._pipe.flush()


def main() -> None:
    """Carry out what standard input says."""
    outlet = Outlet(take_stdout())
    spec = RunSpec.from_json(sys.stdin.readline())
    halt = threading.Event()
    hold_on_to(spec.parent, sys.stdin, lambda line: halt.set() if line == HALT else None)
    os.nice(spec.niceness)
    # Read when torch loads. Threads that spin while they wait for each other lose a whole time
    # slice to every neighbour: on a busy machine a run took five times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        # Imported here: torch takes seconds, in which the parent may die.
        from services.trainer.learning.listening import Cancelled  # noqa: PLC0415
        from services.trainer.pipeline import execute  # noqa: PLC0415

        store = open_store(spec.store_url, spec.store_options)
        try:
            execute(spec, store, outlet.tell, should_stop=halt.is_set)
        except Cancelled:
            outlet.tell(Halted())
    except Exception as error:  # noqa: BLE001 (the supervisor decides what comes of it)
        for line in traceback.format_exc().splitlines():
            sys.stderr.write(line + "\n")
        outlet.tell(failure(error))


def failure(error: Exception) -> Failed:
    """Tell what went wrong, and whether it may go better the next time."""
    if isinstance(error, IsoglossError):
        # A file that is broken in the store stays broken.
        return Failed(message=error.message, retry=not isinstance(error, DataLoss))
    if isinstance(error, DeviceUnavailable):
        # Another trainer may have it.
        return Failed(message=str(error), retry=True)
    if isinstance(error, MemoryError | OSError):
        return Failed(message=f"The trainer's machine failed the run: {error!r}", retry=True)
    ours = type(error).__module__.startswith("services.")
    # Our own errors are written for people; of others the name tells more than the text.
    return Failed(message=str(error) if ours else f"{type(error).__name__}: {error}", retry=False)


def take_stdout() -> IO[str]:
    """Return standard output, and let what libraries print go to standard error."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


if __name__ == "__main__":
    main()
