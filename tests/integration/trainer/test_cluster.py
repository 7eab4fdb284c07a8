"""Runs that two nodes of a Ray cluster carry out together, and that outlive the loss of one."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil
import pytest

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.model_event_pb2 import ModelEvent
from services.common import layout, manifests
from tests.engines import unavailable
from tests.integration.trainer.calls import (
    State,
    Suite,
    long_request,
    request,
    running_trainer,
    states,
    until,
    watch,
)

if TYPE_CHECKING:
    from isogloss.v1.model_service_pb2_grpc import ModelServiceAsyncStub

HOSTS = ("127.0.0.2", "127.0.0.3")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster of two nodes with one CPU each, and its address."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    try:
        from ray.cluster_utils import Cluster  # noqa: PLC0415 (not on every platform)
    except ImportError:
        unavailable("Ray is not installed: the extra trainer-ray brings it")
    # Its sockets lie below: pytest's own folders would make their names too long.
    with tempfile.TemporaryDirectory(prefix="isogloss-ray-") as folder:
        running = Cluster()
        try:
            for host in HOSTS:
                running.add_node(
                    num_cpus=1, node_ip_address=host, include_dashboard=False, temp_dir=folder
                )
            yield running.address
        finally:
            running.shutdown()  # type: ignore[no-untyped-call] # Ray types it not


def workers() -> list[psutil.Process]:
    """Return the processes of workers in clusters of this process."""
    return [
        child
        for child in psutil.Process(os.getpid()).children(recursive=True)
        if child.cmdline() and child.cmdline()[0].startswith("ray::Worker")
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_two_nodes_publish_a_model_and_a_lost_worker_or_a_pause_loses_nothing(
    suite: Suite, cluster: str
) -> None:
    settings = suite.settings(
        executor="ray",
        ray_address=cluster,
        ray_workers=len(HOSTS),
        checkpoint_seconds=0.2,
        retry_seconds=0,
    )
    async with running_trainer(settings) as trainer:
        short = (await trainer.CreateModel(request())).name
        published = await watch(trainer, short)
        long = (await trainer.CreateModel(long_request())).name
        await until(trainer, long, lambda _: has_checkpoint(suite, long))
        workers()[-1].send_signal(signal.SIGKILL)
        await until(trainer, long, goes_on)
        await trainer.PauseModel(pb.PauseModelRequest(name=long))
        paused = await until(trainer, long, lambda it: it.model.state == State.STATE_PAUSED)
        _, left = await asyncio.to_thread(psutil.wait_procs, workers(), timeout=60)
        changes = await events(trainer, long, ModelEvent.KIND_STATE_CHANGE)
        lines = await events(trainer, long, ModelEvent.KIND_LOG_LINE)

    assert states(published) == ["QUEUED", "TRAINING", "EXPORTING", "READY"]
    key = layout.model_manifest("default", short.removeprefix("models/"))
    assert manifests.read_manifest(suite.store, key, ModelManifest).token == 1
    reasons = [event.state_change.reason for event in changes]
    assert any("of 2, on 127.0.0." in reason and "died" in reason for reason in reasons)
    told = [event.log_line.message for event in lines]
    assert any(all(host in line for host in HOSTS) for line in told)
    # What it learnt is kept, and its place in the cluster is free.
    assert paused.model.attempt == 1
    assert has_checkpoint(suite, long)
    assert left == []


def has_checkpoint(suite: Suite, name: str) -> bool:
    prefix = layout.checkpoints_prefix("default", name.removeprefix("models/"))
    return any(item.key.endswith("/manifest.json") for item in suite.store.list(prefix))


def goes_on(response: pb.WatchModelResponse) -> bool:
    return "to go on from" in response.event.log_line.message


async def events(
    stub: ModelServiceAsyncStub, name: str, kind: ModelEvent.Kind.ValueType
) -> list[ModelEvent]:
    listed = await stub.ListModelEvents(pb.ListModelEventsRequest(parent=name, kinds=[kind]))
    return list(listed.events)
