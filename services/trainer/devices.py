"""Where a run computes. Needs torch, but for counting the places that a machine has."""

from __future__ import annotations

import os
from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia/gpus")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class DeviceUnavailable(OSError):
    """The device that was asked for cannot be used; the message says why and what to do."""


def choose_device(wish: str) -> tuple[str, str]:
    """Return where to compute, as torch names it, and the same in words.

    Args:
        wish: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        DeviceUnavailable: Where a GPU is asked for and cannot be used.
    """
    # Imported here: the API process counts places and never loads torch.
    import torch  # noqa: PLC0415

    if wish == "cpu":
        return "cpu", f"the CPU, with {_threads()} threads"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(wish.partition(":")[2] or 0)
    if index < count:
        return f"cuda:{index}", f"cuda:{index}, {torch.cuda.get_device_name(index)}"
    if wish == "auto":
        return "cpu", f"the CPU, with {_threads()} threads: torch sees no GPU"
    raise DeviceUnavailable(
        f"The device {wish} cannot be used: torch sees {count} GPUs. Install a build of torch for "
        "CUDA on a machine with an NVIDIA driver, or set the device to auto or cpu."
    )


def places(wish: str, *, driver: Path = _DRIVER) -> list[str]:
    """Return the devices that runs of this machine are dealt out to, at least one.

    Args:
        wish: As of `choose_device`.
        driver: Where the driver lists the GPUs of this machine.
    """
    if wish == "cpu" or ":" in wish:
        return [wish]
    count = len(list(driver.iterdir())) if driver.is_dir() else 0
    visible = os.environ.get(_VISIBLE)
    if visible is not None:
        count = min(count, len([entry for entry in visible.split(",") if entry.strip()]))
    # One GPU needs no number, and a run on `auto` may still find that it does not work.
    return [f"cuda:{index}" for index in range(count)] if count > 1 else [wish]


def _threads() -> str:
    return os.environ.get("OMP_NUM_THREADS", "all")
