"""One of the workers that carry a run out together, as an actor of a Ray cluster.

Knows the driver by what it calls: it never calls back, so a driver that is gone is missed by
nobody but Ray, which then ends the worker.
"""

from __future__ import annotations

import os
import queue
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from services.common.storage import open_store
from services.trainer.devices import choose_device
from services.trainer.distributed.errors import ClusterFailed
from services.trainer.messages import Message
from services.trainer.outlet import Outlet
from services.trainer.scratch import Scratch, sweep
from services.trainer.spec import RunSpec

_WAIT_SECONDS = 1.0
# The driver asks again each time: as rarely as leaves the lines their order.

_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a worker stands among the others."""

    rank: int
    size: int
    host: str
    """Where the first worker is; the others meet there."""

    port: int


class Worker:
    """Does its share of one run. Each method is called from a thread of its own."""

    def __init__(self) -> None:
        """Wait for orders."""
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._halt = threading.Event()

    def host(self) -> str:
        """Return this node's address in the cluster."""
        import ray  # noqa: PLC0415 (only a worker of a cluster needs it)

        return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call] # types it not

    def open_meeting(self, size: int) -> int:
        """Open the place where all workers meet, as the first of them; return its port."""
        from services.trainer.distributed.torch_group import meet  # noqa: PLC0415 (as below)

        self._meeting, port = meet(self.host(), 0, size, first=True)
        return port

    def carry_out(self, spec: str, place: Place) -> None:
        """Do what `run` does, together with the others.

        The first worker tells everything; another one only what made it fail.

        Raises:
            ClusterFailed: Where another worker is lost. Which one, the driver knows better.
        """
        outlet = Outlet(self._lines.put)
        try:
            self._carry_out(RunSpec.from_json(spec), place, outlet)
        except ClusterFailed:
            raise
        except Exception as error:  # noqa: BLE001 (the supervisor decides what comes of it)
            outlet.tell_end(error)

    def lines(self) -> list[str]:
        """Wait a moment for lines, and return those that are there."""
        found: list[str] = []
        with suppress(queue.Empty):
            found.append(self._lines.get(timeout=_WAIT_SECONDS))
            while True:
                found.append(self._lines.get_nowait())
        return found

    def halt(self) -> None:
        """Ask the first worker to stop; it brings the others along."""
        self._halt.set()

    def _carry_out(self, spec: RunSpec, place: Place, outlet: Outlet) -> None:
        os.environ.update(_OFFLINE)
        # Imported here: the driver knows this class and needs no torch.
        from services.trainer.distributed.torch_group import joined, meet  # noqa: PLC0415
        from services.trainer.pipeline import execute  # noqa: PLC0415

        first = place.rank == 0
        if not first:
            self._meeting, _ = meet(place.host, place.port, place.size, first=False)
        device, _ = choose_device(spec.device)
        root = Path(tempfile.gettempdir()) / f"isogloss-workers-{os.getuid()}"
        sweep(root)
        with (
            Scratch(root, "run") as scratch,
            joined(self._meeting, rank=place.rank, size=place.size, device=device) as group,
        ):
            execute(
                replace(spec, scratch=str(scratch)),
                open_store(spec.store_url, spec.store_options),
                outlet.tell if first else _keep_quiet,
                should_stop=self._halt.is_set,
                group=group,
            )


def _keep_quiet(_: Message) -> None:
    """Tell nothing: the first worker tells the same."""
