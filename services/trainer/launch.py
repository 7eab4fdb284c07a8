"""How a run's process is started, and what its end means. Starts none itself."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from services.common import layout
from services.common.threads import available_cpus
from services.trainer.devices import places
from services.trainer.queue import Run
from services.trainer.settings import Executor, QuantizeWish, TrainerSettings
from services.trainer.spec import Cluster, RunSpec


def spec(
    run: Run,
    settings: TrainerSettings,
    *,
    device: str,
    sources: Mapping[str, str],
    scratch: Path,
) -> RunSpec:
    """Return what the process of a run is told.

    Args:
        run: What was claimed.
        settings: The trainer's.
        device: Where it computes.
        sources: Where configured bases come from, by id.
        scratch: An empty directory.
    """
    row, lease = run.row, run.lease
    cluster = _cluster(settings)
    return RunSpec(
        tenant=row.tenant,
        model=row.id,
        display_name=row.display_name,
        base_model=row.base_model,
        base_source=sources.get(row.base_model, ""),
        dataset=row.dataset,
        dataset_content_hash=row.dataset_content_hash,
        hyperparameters=row.hyperparameters,
        positive_label=row.positive_label,
        attempt=lease.attempt,
        token=lease.token,
        prefix=layout.attempt_prefix(row.tenant, row.id, lease.attempt, lease.token),
        start_time=datetime.now(UTC),
        store_url=settings.store_url,
        store_options=settings.store_options,
        scratch=str(scratch),
        device=device if cluster is None else cluster.device,
        threads=threads(settings) if cluster is None else cluster.threads,
        checkpoint_seconds=settings.checkpoint_seconds,
        niceness=settings.run_niceness,
        quantise=settings.quantize is QuantizeWish.AUTO,
        parent=os.getpid(),
        cluster=cluster,
    )


def places_to_learn(settings: TrainerSettings) -> list[str]:
    """Return a device for each run that this trainer carries out at the same time."""
    cluster = _cluster(settings)
    devices = places(settings.device) if cluster is None else [cluster.device]
    return devices * settings.concurrent_runs


def threads_to_learn(settings: TrainerSettings) -> int:
    """Return the CPU threads of one run, of all its workers together."""
    cluster = _cluster(settings)
    return threads(settings) if cluster is None else cluster.workers * cluster.threads


def _cluster(settings: TrainerSettings) -> Cluster | None:
    if settings.executor is Executor.LOCAL:
        return None
    return Cluster(
        address=settings.ray_address,
        workers=settings.ray_workers,
        resources=settings.ray_resources_per_worker,
    )


def threads(settings: TrainerSettings) -> int:
    """Return the CPU threads of one process of this machine."""
    share = available_cpus() // max(1, settings.concurrent_runs * len(places(settings.device)))
    return settings.run_threads or max(1, share)


def environment(settings: TrainerSettings, scratch: Path) -> dict[str, str]:
    """Return the environment of a run: no network, no files but in its scratch directory."""
    return {
        # Idle threads sleep instead of spinning, unless the operator says otherwise: beside one
        # other busy process on two CPUs, steps took 0.85 s instead of 4.4 s.
        "OMP_WAIT_POLICY": "PASSIVE",
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(threads(settings)),
        "TMPDIR": str(scratch),
        "HF_HOME": str(scratch / "huggingface"),
        "TORCH_HOME": str(scratch / "torch"),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        # Ray tells its makers how it is used, and looks for this machine's node in TMPDIR.
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": os.environ.get("RAY_TMPDIR", tempfile.gettempdir()),
    }


def describe_exit(code: int | None, process: str = "The training process") -> str:
    """Return why a process ended that said nothing, in a sentence."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (most often: out of memory)" if -code == signal.SIGKILL else ""
        return f"{process} was killed by {name}{hint}."
    return f"{process} ended with code {code} and said nothing."
