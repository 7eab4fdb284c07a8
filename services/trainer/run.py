"""The process of one attempt: `python -m services.trainer.run`, started by the supervisor.

Reads its spec from the first line of standard input and tells what happens on standard output,
one message a line. It ends when it has told `Finished`, `Failed` or `Halted`, or when its parent
dies. A further line, `HALT`, asks it to leave a checkpoint and stop.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from services.common.storage import open_store
from services.trainer.lifeline import hold_on_to
from services.trainer.outlet import stdout_outlet
from services.trainer.spec import HALT, RunSpec


def main() -> None:
    """Carry out what standard input says."""
    outlet = stdout_outlet()
    spec = RunSpec.from_json(sys.stdin.readline())
    halt = threading.Event()
    hold_on_to(spec.parent, sys.stdin, lambda line: halt.set() if line == HALT else None)
    os.nice(spec.niceness)
    # Read when torch loads. Threads that spin while they wait for each other lose a whole time
    # slice to every neighbour: on a busy machine a run took five times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        execute = _executor(spec)
        store = open_store(spec.store_url, spec.store_options)
        execute(spec, store, outlet.tell, should_stop=halt.is_set)
    except Exception as error:  # noqa: BLE001 (the supervisor decides what comes of it)
        outlet.tell_end(error)


def _executor(spec: RunSpec) -> Callable[..., None]:
    """Return what carries the run out: torch takes seconds to import, and Ray is not everywhere."""
    if spec.cluster is None:
        from services.trainer.pipeline import execute  # noqa: PLC0415

        return execute
    from services.trainer.distributed.driver import execute as execute_on_cluster  # noqa: PLC0415

    return execute_on_cluster


if __name__ == "__main__":
    main()
