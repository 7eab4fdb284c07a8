"""Chooses where graphs run, and proves that it works before anything is served."""

from __future__ import annotations

import ctypes
from enum import StrEnum

import numpy as np
import onnxruntime as ort
import structlog

_log = structlog.get_logger()

# `y = Identity(x)` of one float, IR version 8, opset 17. That ONNX Runtime lists a provider
# says only that the wheel was built with it; running a graph proves that its libraries, the
# driver and the device work together.
PROBE_GRAPH = bytes.fromhex(
    "08083a330a100a017812017922084964656e74697479120570726f62655a0b0a0178"
    "12060a0408011200620b0a017912060a040801120042040a001011"
)

_ERRORS_ONLY_FATAL = 4  # ONNX Runtime's severity: a probe that fails tells so by its answer


class Device(StrEnum):
    """Where graphs run."""

    CPU = "cpu"
    CUDA = "cuda"


class DeviceWish(StrEnum):
    """What the setting asks for."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class DeviceUnavailable(OSError):
    """The device that was asked for cannot be used; the message says why and what to do."""


def choose_device(wish: DeviceWish) -> Device:
    """Return where graphs will run.

    Raises:
        DeviceUnavailable: Where CUDA is asked for and cannot be used.
    """
    if wish is DeviceWish.CPU:
        return Device.CPU
    obstacle = _cuda_obstacle()
    if obstacle is None:
        return Device.CUDA
    if wish is DeviceWish.CUDA:
        raise DeviceUnavailable(
            f"device is cuda, but {obstacle}. Install the extra inference-gpu on a machine with "
            "an NVIDIA driver, or set the device to auto or cpu."
        )
    _log.info("cuda_unavailable", reason=obstacle)
    return Device.CPU


def _cuda_obstacle() -> str | None:
    """Return why CUDA cannot be used, or None where it can."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return "this ONNX Runtime was built without CUDA"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1)"
    # Finds the CUDA libraries that the extra installed as Python packages.
    ort.preload_dlls()
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY_FATAL
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    session = ort.InferenceSession(PROBE_GRAPH, options, providers=providers)
    if session.get_providers()[0] != "CUDAExecutionProvider":
        return "ONNX Runtime could not load its CUDA libraries"
    session.run(None, {"x": np.array(1, np.float32)})
    return None
