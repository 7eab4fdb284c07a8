"""How a run gets its workers: room on the nodes of the cluster, and a process in each place."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from services.trainer.distributed.errors import ClusterFailed
from services.trainer.distributed.worker import Place, Worker
from services.trainer.messages import Logged, Tell
from services.trainer.spec import Cluster

_TICK_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hired:
    """A worker, as the driver sees it."""

    actor: Any
    """Handle of a `Worker`: each of its methods has `remote`."""

    place: Place
    host: str

    def __str__(self) -> str:
        """Name it for people."""
        return f"worker {self.place.rank} of {self.place.size}, on {self.host},"


def hire(cluster: Cluster, tell: Tell, *, should_stop: Callable[[], bool]) -> list[Hired]:
    """Wait until the cluster has room, and start the workers.

    Args:
        cluster: How many, and what each of them takes.
        tell: Takes what the run's log should say.
        should_stop: Asked while there is no room.

    Returns:
        The workers by rank; none where the run was asked to stop before.

    Raises:
        ClusterFailed: Where a node is lost meanwhile.
    """
    wish = f"{cluster.workers} workers with {_listed(cluster.resources)} each"
    tell(Logged(level="info", message=f"Asking the Ray cluster for {wish}."))
    room = placement_group([cluster.resources] * cluster.workers, strategy="PACK")
    begun, warned = time.monotonic(), False
    while not room.wait(_TICK_SECONDS):
        if should_stop():
            return []
        if not warned and time.monotonic() - begun > _PATIENCE_SECONDS:
            message = f"No room for {wish} among {_listed(_stock(cluster))}; waiting for it."
            tell(Logged(level="warning", message=message))
            warned = True
    actors = [_start(room, number, cluster.resources) for number in range(cluster.workers)]
    try:
        hosts = ray.get([actor.host.remote() for actor in actors])
        port = ray.get(actors[0].open_meeting.remote(cluster.workers))
    except RayError as error:
        raise ClusterFailed(f"A worker could not be started: {error}") from error
    tell(Logged(level="info", message=f"The workers are on {', '.join(hosts)}."))
    return [
        Hired(
            actor=actor,
            place=Place(rank=rank, size=cluster.workers, host=hosts[0], port=port),
            host=host,
        )
        for rank, (actor, host) in enumerate(zip(actors, hosts, strict=True))
    ]


def _start(room: PlacementGroup, bundle: int, resources: dict[str, float]) -> Any:  # noqa: ANN401 (see Hired)
    own = {name: amount for name, amount in resources.items() if name not in {"CPU", "GPU"}}
    options = {
        "num_cpus": resources.get("CPU", 0),
        "num_gpus": resources.get("GPU", 0),
        "resources": own,
        # One thread works, and others answer meanwhile.
        "max_concurrency": 4,
        "scheduling_strategy": PlacementGroupSchedulingStrategy(
            placement_group=room, placement_group_bundle_index=bundle
        ),
    }
    return ray.remote(Worker).options(**options).remote()


def _stock(cluster: Cluster) -> dict[str, float]:
    """Return what all nodes have of what is asked for."""
    stock = ray.cluster_resources()  # type: ignore[no-untyped-call] # Ray types it not
    return {name: stock.get(name, 0.0) for name in cluster.resources}


def _listed(resources: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())
