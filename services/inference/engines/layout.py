"""How the processors of a node are dealt out to engines, runs and threads. Opens no graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from services.common.scratch import Scratch
from services.inference.devices import Device
from services.inference.engine import Engines
from services.inference.engines.cuda import CudaEngines
from services.inference.engines.onnx import LocalEngines
from services.inference.engines.processes import ProcessEngines

_CORES_OF_ONE_PROCESS = 4
# Python's share of a run is 0.1 ms of 3 or more: four runs of one process hardly wait for each
# other. From where on they do was not measured; `calibrate` finds it on the node itself.


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How many compute, and with what."""

    engines: int
    """Processes; 0: in the process that answers calls."""

    workers: int
    """Runs at once in all of them together, at least 1."""

    threads: int
    """Of each run on the CPU, at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutWish:
    """What an operator sets of it."""

    engines: int | None
    """None: whatever suits the node."""

    workers: int
    """0: whatever suits the node."""

    threads: int
    """0: whatever suits the node."""


def choose_layout(
    wish: LayoutWish, *, cpus: int, device: Device, calibrated: Layout | None
) -> Layout:
    """Return the layout to serve with.

    Args:
        wish: What is set.
        cpus: Processors that may be used.
        device: Where graphs run.
        calibrated: What was found best on this node's CPU; taken where nothing is set.

    Raises:
        ValueError: Where processes are asked for on a GPU.
    """
    if device is Device.CUDA and wish.engines:
        raise ValueError(
            f"engines is {wish.engines}, but with CUDA models are computed in this process: leave "
            "engines unset, or set device to cpu"
        )
    nothing = LayoutWish(engines=None, workers=0, threads=0)
    if calibrated is not None and device is Device.CPU and wish == nothing:
        return calibrated
    threads = wish.threads or 1
    suitable = math.ceil(cpus / _CORES_OF_ONE_PROCESS)
    in_process = device is Device.CUDA or suitable == 1
    return Layout(
        engines=wish.engines if wish.engines is not None else 0 if in_process else suitable,
        workers=wish.workers or max(1, cpus // threads),
        threads=threads,
    )


def open_engines(layout: Layout, device: Device, scratch: Path) -> Engines:
    """Return what computes.

    Args:
        layout: Engines with fewer workers than there are processes have one each.
        device: Where graphs run.
        scratch: A directory on a local disk; used by processes only.
    """
    if layout.engines == 0:
        return CudaEngines() if device is Device.CUDA else LocalEngines(threads=layout.threads)
    return ProcessEngines(
        processes=layout.engines,
        lanes=math.ceil(layout.workers / layout.engines),
        threads=layout.threads,
        scratch=Scratch(scratch),
    )
