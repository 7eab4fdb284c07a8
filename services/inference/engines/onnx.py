"""A graph in ONNX Runtime, in this process. Knows neither texts nor where graphs come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from services.inference.devices import Device, providers
from services.inference.engine import (
    EngineLimits,
    FloatArray,
    GraphInvalid,
    GraphShape,
    IntArray,
    Output,
    RunFailed,
)

_INPUTS = {"input_ids", "attention_mask"}

PREPARED = "graph.onnx"
"""Name of a graph that `prepare` wrote; beside it are its weights."""

_ERRORS = 3  # ONNX Runtime's severity

# ONNX Runtime takes any number of runs in its own process: the workers are the bound. On a CPU
# one 16-token text reaches most of a core's peak already, and a batch of 2,048 tokens (some
# 0.3 s of all-MiniLM-L6-v2 on one core) is as long as anybody behind it should wait.
CPU_LIMITS = EngineLimits(texts=32, padded_tokens=2_048, runs=1_024)

# A GPU is idle until thousands of tokens are under way; one batch is copied while one computes.
CUDA_LIMITS = EngineLimits(texts=256, padded_tokens=16_384, runs=2)


class OnnxEngine:
    """A graph in ONNX Runtime."""

    def __init__(
        self,
        path: Path,
        *,
        shape: GraphShape,
        device: Device,
        threads: int,
        prepared: bool = False,
    ) -> None:
        """Open the graph and check it against its manifest.

        Args:
            path: The graph.
            shape: What it must be.
            device: Where it runs.
            threads: Threads of one run on the CPU, at least 1.
            prepared: Whether `prepare` wrote it.

        Raises:
            GraphInvalid: Where it cannot be opened, or its inputs or outputs are others.
        """
        options = _session_options(threads)
        if prepared:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = _open(path, options, device)
        self._pad = shape.pad_token_id
        self.limits = CUDA_LIMITS if device is Device.CUDA else CPU_LIMITS
        self._check(shape)

    def run(
        self, token_ids: Sequence[Sequence[int]], outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        """Compute a few texts in one pass; see `Engine.run`."""
        ids, mask = _padded(token_ids, self._pad)
        feed = {"input_ids": ids, "attention_mask": mask}
        try:
            return tuple(self._session.run(list(outputs), feed))
        except Exception as error:  # as above
            raise RunFailed(f"the graph cannot be run: {error}") from error

    def _check(self, shape: GraphShape) -> None:
        """Compare the graph with its manifest, by running it."""
        inputs = {node.name for node in self._session.get_inputs()}
        if inputs != _INPUTS:
            raise GraphInvalid(f"the graph's inputs are {sorted(inputs)}, not {sorted(_INPUTS)}")
        outputs = {node.name for node in self._session.get_outputs()}
        expected = {Output.EMBEDDING: shape.dimension}
        if shape.labels:
            expected[Output.LOGITS] = shape.labels
        for output, width in expected.items():
            if output not in outputs:
                raise GraphInvalid(f"the graph has no output {output}")
            try:
                (rows,) = self.run([[self._pad]], (output,))
            except RunFailed as error:
                raise GraphInvalid(str(error)) from error
            if rows.shape != (1, width) or rows.dtype != np.float32:
                raise GraphInvalid(
                    f"the graph's output {output} is {rows.dtype} of shape {rows.shape}, "
                    f"its manifest says float32 of shape {(1, width)}"
                )


def prepare(path: Path, folder: Path) -> None:
    """Write a graph as this machine computes it, as `PREPARED` into a folder; for the CPU.

    Its weights are kept as the kernels want them and mapped, not read: another session opens in
    a fifth of the time, answers bit for bit the same, and all processes share the weights' memory.
    It is of no use to another version of ONNX Runtime or another kind of processor.

    Args:
        path: The graph, whole in one file.
        folder: Where to, an empty directory.

    Raises:
        GraphInvalid: Where it cannot be opened, or not be written.
    """
    options = _session_options(1)
    options.optimized_model_filepath = str(folder / PREPARED)
    # It warns of what is meant: that the graph is for this machine.
    options.log_severity_level = _ERRORS
    for key, value in (
        ("session.optimized_model_external_initializers_file_name", "weights"),
        ("session.optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(key, value)
    _open(path, options, Device.CPU)


def _open(path: Path, options: ort.SessionOptions, device: Device) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(str(path), options, providers=providers(device))
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise GraphInvalid(f"the graph cannot be opened: {error}") from error


def _session_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads win a little on an idle machine and take the cores from everybody else
    # on a busy one: with two runs at once, 2 threads each spinning for ONNX Runtime's default
    # time took twice as long as without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena grows with every new longest text and never gives back; without it a run is no
    # slower, since what a graph of this size allocates is small beside what it computes.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return options


def _padded(token_ids: Sequence[Sequence[int]], pad: int) -> tuple[IntArray, IntArray]:
    """Return ids and mask of shape (texts, longest), filled up on the right."""
    if len(token_ids) == 1:
        ids = np.array(token_ids, np.int64)
        return ids, np.ones_like(ids)
    longest = max(len(row) for row in token_ids)
    ids = np.full((len(token_ids), longest), pad, np.int64)
    mask = np.zeros((len(token_ids), longest), np.int64)
    for index, row in enumerate(token_ids):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEngines:
    """Graphs in this process."""

    device: Device
    threads: int
    """Of one run on the CPU, at least 1."""

    @property
    def alive(self) -> bool:
        """Always: whatever ends them ends this process."""
        return True

    @property
    def copies(self) -> float:
        """One: runs share it."""
        return 1.0

    def open(self, path: Path, shape: GraphShape) -> OnnxEngine:
        """Open a graph; see `Engines.open`."""
        return OnnxEngine(path, shape=shape, device=self.device, threads=self.threads)

    def close(self) -> None:
        """Leave them to the end of this process."""
