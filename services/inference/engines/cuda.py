"""Graphs on one GPU, in this process.

All of them run on one thread: CUDA keeps a run for the thread that made it first, and nothing
else may be asked of the device while it is kept. What is under way on the device is more than one
text anyway, and whoever asks fills up and waits on threads of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import onnxruntime as ort
import structlog

from services.inference.engine import (
    EngineLimits,
    FloatArray,
    GraphInvalid,
    GraphShape,
    Output,
    RunFailed,
)
from services.inference.engines.buckets import BucketedSession
from services.inference.engines.session import check, open_session, padded, widths

_log = structlog.get_logger()

# A GPU is idle until thousands of tokens are under way; while one batch computes, the next is
# filled up.
CUDA_LIMITS = EngineLimits(texts=256, padded_tokens=16_384, runs=2)


class CudaEngines:
    """Graphs on the first GPU. See `Engines`."""

    def __init__(self) -> None:
        """Start the thread that everything runs on."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cuda")

    @property
    def alive(self) -> bool:
        """Always: whatever ends them ends this process."""
        return True

    @property
    def prefer_half(self) -> bool:
        """Yes: several times."""
        return True

    @property
    def copies(self) -> float:
        """One, on the device."""
        return 1.0

    def open(self, path: Path, shape: GraphShape) -> CudaEngine:
        """Open a graph; see `Engines.open`."""
        return CudaEngine(path, shape=shape, thread=self._thread)

    def close(self) -> None:
        """End the thread, once what was asked for is done."""
        self._thread.shutdown()


class CudaEngine:
    """A graph on the first GPU. See `Engine`."""

    def __init__(self, path: Path, *, shape: GraphShape, thread: ThreadPoolExecutor) -> None:
        """Open the graph and check it against its manifest.

        Args:
            path: The graph, whole in one file.
            shape: What it must be.
            thread: The only one that uses the device.

        Raises:
            GraphInvalid: Where it cannot be opened, or its inputs or outputs are others.
        """
        session = thread.submit(_open, path).result()
        self._session = BucketedSession(session, widths(shape), device="cuda")
        self._thread = thread
        self._pad = shape.pad_token_id
        self.limits = CUDA_LIMITS
        check(session, shape, self.run)

    def run(
        self, token_ids: Sequence[Sequence[int]], outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        """Compute a few texts in one pass; see `Engine.run`."""
        ids, mask = padded(token_ids, self._pad)
        run = partial(self._session.run, ids, mask, outputs)
        try:
            return self._thread.submit(run).result()
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise RunFailed(f"the graph cannot be run: {error}") from error


def provider_options(*, keeps_runs: bool) -> dict[str, str]:
    """Return how ONNX Runtime uses the GPU.

    Args:
        keeps_runs: Whether runs are kept and repeated as a whole.
    """
    return {
        "device_id": "0",
        # By default it takes twice as much each time, and all of the device in the end.
        "arena_extend_strategy": "kSameAsRequested",
        # Products of 10 bits of each number are faster, and not the same vectors.
        "use_tf32": "0",
        "enable_cuda_graph": "1" if keeps_runs else "0",
    }


def _open(path: Path) -> ort.InferenceSession:
    try:
        return _session(path, keeps_runs=True)
    except GraphInvalid as error:
        # A run can be kept only where the GPU computes every node of the graph.
        _log.warning("runs_not_kept", error=str(error))
        return _session(path, keeps_runs=False)


def _session(path: Path, *, keeps_runs: bool) -> ort.InferenceSession:
    providers = [
        ("CUDAExecutionProvider", provider_options(keeps_runs=keeps_runs)),
        "CPUExecutionProvider",
    ]
    return open_session(path, ort.SessionOptions(), providers)
