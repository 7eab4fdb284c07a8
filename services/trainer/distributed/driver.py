"""One attempt that the workers of a Ray cluster carry out, seen from the process that asks them.

Does what `pipeline.execute` does, and tells what the first worker tells. Learns nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray

from services.common.storage import ObjectStore
from services.trainer.distributed.crew import Crew
from services.trainer.distributed.errors import ClusterFailed
from services.trainer.distributed.hiring import hire
from services.trainer.distributed.presence import check_head
from services.trainer.messages import Halted, Tell
from services.trainer.run_base import find_base
from services.trainer.spec import RunSpec

_CONNECT_SECONDS = 10.0


def execute(
    spec: RunSpec, store: ObjectStore, tell: Tell, *, should_stop: Callable[[], bool]
) -> None:
    """Carry the attempt out on the cluster that the spec names.

    Args:
        spec: What to do.
        store: Where from and where to; the workers open it themselves.
        tell: Takes what happens, in order; the last message is an `End`.
        should_stop: Asked while the model learns, not while it is exported.

    Raises:
        ClusterFailed: Where there is no cluster, or it lost a worker.
        RunFailed, IsoglossError: Where there is no base to start from.
    """
    if spec.cluster is None:
        raise AssertionError("only a run that names a cluster comes here")
    # The sources of bases are known here, and the workers would all publish at once.
    find_base(spec, store, tell)
    with _connected(spec.cluster.address):
        workers = hire(spec.cluster, tell, should_stop=should_stop)
        end = Crew(workers, spec).follow(tell, should_stop=should_stop) if workers else Halted()
    tell(end)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    try:
        check_head(address, seconds=_CONNECT_SECONDS)
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, RuntimeError) as error:
        raise ClusterFailed(
            f"No Ray cluster answers at {address} (ray_address), or this machine is no node of it: "
            f"{error}."
        ) from error
    try:
        yield
    finally:
        # Ends the workers as well, whatever they are doing.
        ray.shutdown()
