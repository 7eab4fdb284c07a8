"""A graph on the processors of this machine, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.inference.engine import EngineLimits, FloatArray, GraphShape, Output, RunFailed
from services.inference.engines.session import check, open_cpu_session, padded

# ONNX Runtime takes any number of runs in its own process: the workers are the bound. On a CPU
# one 16-token text reaches most of a core's peak already, and a batch of 2,048 tokens (some
# 0.3 s of all-MiniLM-L6-v2 on one core) is as long as anybody behind it should wait.
CPU_LIMITS = EngineLimits(texts=32, padded_tokens=2_048, runs=1_024)


class OnnxEngine:
    """A graph in ONNX Runtime. See `Engine`."""

    def __init__(
        self, path: Path, *, shape: GraphShape, threads: int, prepared: bool = False
    ) -> None:
        """Open the graph and check it against its manifest.

        Args:
            path: The graph.
            shape: What it must be.
            threads: Of one run, at least 1.
            prepared: Whether `session.prepare` wrote it.

        Raises:
            GraphInvalid: Where it cannot be opened, or its inputs or outputs are others.
        """
        self._session = open_cpu_session(path, threads=threads, prepared=prepared)
        self._pad = shape.pad_token_id
        self.limits = CPU_LIMITS
        check(self._session, shape, self.run)

    def run(
        self, token_ids: Sequence[Sequence[int]], outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        """Compute a few texts in one pass; see `Engine.run`."""
        ids, mask = padded(token_ids, self._pad)
        feed = {"input_ids": ids, "attention_mask": mask}
        try:
            return tuple(self._session.run(list(outputs), feed))
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise RunFailed(f"the graph cannot be run: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEngines:
    """Graphs in this process."""

    threads: int
    """Of one run, at least 1."""

    @property
    def alive(self) -> bool:
        """Always: whatever ends them ends this process."""
        return True

    @property
    def prefer_half(self) -> bool:
        """No: processors compute 32 bits as fast."""
        return False

    @property
    def copies(self) -> float:
        """One: runs share it."""
        return 1.0

    def open(self, path: Path, shape: GraphShape) -> OnnxEngine:
        """Open a graph; see `Engines.open`."""
        return OnnxEngine(path, shape=shape, threads=self.threads)

    def close(self) -> None:
        """Leave them to the end of this process."""
