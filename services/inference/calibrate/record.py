"""What was found best on a node, kept beside its caches for every start of the service."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import onnxruntime as ort
import structlog

from services.common.threads import available_cpus
from services.inference.calibrate.candidates import Measured
from services.inference.engines.layout import Layout

_log = structlog.get_logger()

_NAME = "inference-calibration.json"
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a measurement holds for."""

    processor: str
    """As it names itself."""

    cpus: int
    """That this process may use."""

    onnxruntime: str
    """Version."""

    @classmethod
    def here(cls) -> Self:
        """Return this node."""
        return cls(processor=_processor(), cpus=available_cpus(), onnxruntime=ort.__version__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was found on a node, and with what."""

    node: Node
    model: str
    """Full resource name of the model that was measured."""

    digest: str
    """sha256 of its graph."""

    layout: Layout
    """What was found best."""

    measured: Sequence[Measured]
    """All that was tried."""


def save(calibration: Calibration, directory: Path) -> Path:
    """Keep a calibration in place of an earlier one, and return where."""
    path = directory / _NAME
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps(asdict(calibration), indent=1) + "\n", encoding="utf-8")
    scratch.replace(path)
    return path


def layout_found(directory: Path, node: Node) -> Layout | None:
    """Return what was found best on `node`; None, and why in the log, where nothing was."""
    path = directory / _NAME
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = Node(**content["node"])
        layout = Layout(**content["layout"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("calibration_unreadable", path=str(path), error=repr(error))
        return None
    if found != node:
        _log.warning(
            "calibration_of_another_node",
            path=str(path),
            found=asdict(found),
            here=asdict(node),
            hint="run python -m services.inference.calibrate again",
        )
        return None
    return layout


def _processor() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
