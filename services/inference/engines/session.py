"""Sessions of ONNX Runtime: how they are opened, checked and fed. Runs nothing for anybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from services.inference.engine import (
    FloatArray,
    GraphInvalid,
    GraphShape,
    IntArray,
    Output,
    RunFailed,
)

PREPARED = "graph.onnx"
"""Name of a graph that `prepare` wrote; beside it are its weights."""

_INPUTS = {"input_ids", "attention_mask"}

_CPU = ["CPUExecutionProvider"]

_ERRORS = 3  # ONNX Runtime's severity


def open_cpu_session(path: Path, *, threads: int, prepared: bool = False) -> ort.InferenceSession:
    """Open a graph on the CPU.

    Args:
        path: The graph.
        threads: Of one run, at least 1.
        prepared: Whether `prepare` wrote it.

    Raises:
        GraphInvalid: Where it cannot be opened.
    """
    options = _cpu_options(threads)
    if prepared:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return open_session(path, options, _CPU)


def open_session(
    path: Path, options: ort.SessionOptions, providers: Sequence[Any]
) -> ort.InferenceSession:
    """Open a graph.

    Raises:
        GraphInvalid: Where it cannot be opened.
    """
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise GraphInvalid(f"the graph cannot be opened: {error}") from error


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
    options = _cpu_options(1)
    options.optimized_model_filepath = str(folder / PREPARED)
    # It warns of what is meant: that the graph is for this machine.
    options.log_severity_level = _ERRORS
    for key, value in (
        ("session.optimized_model_external_initializers_file_name", "weights"),
        ("session.optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(key, value)
    open_session(path, options, _CPU)


def widths(shape: GraphShape) -> dict[Output, int]:
    """Return how many numbers each output has for a text."""
    embedding = {Output.EMBEDDING: shape.dimension}
    return {**embedding, Output.LOGITS: shape.labels} if shape.labels else embedding


def check(
    session: ort.InferenceSession,
    shape: GraphShape,
    run: Callable[[Sequence[Sequence[int]], tuple[Output, ...]], tuple[FloatArray, ...]],
) -> None:
    """Compare a graph with its manifest, by running it.

    Raises:
        GraphInvalid: Where its inputs or outputs are others.
    """
    inputs = {node.name for node in session.get_inputs()}
    if inputs != _INPUTS:
        raise GraphInvalid(f"the graph's inputs are {sorted(inputs)}, not {sorted(_INPUTS)}")
    outputs = {node.name for node in session.get_outputs()}
    for output, width in widths(shape).items():
        if output not in outputs:
            raise GraphInvalid(f"the graph has no output {output}")
        try:
            (rows,) = run([[shape.pad_token_id]], (output,))
        except RunFailed as error:
            raise GraphInvalid(str(error)) from error
        if rows.shape != (1, width) or rows.dtype != np.float32:
            raise GraphInvalid(
                f"the graph's output {output} is {rows.dtype} of shape {rows.shape}, "
                f"its manifest says float32 of shape {(1, width)}"
            )
        if not np.isfinite(rows).all():
            raise GraphInvalid(f"the graph's output {output} is not finite for the shortest text")


def padded(token_ids: Sequence[Sequence[int]], pad: int) -> tuple[IntArray, IntArray]:
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


def _cpu_options(threads: int) -> ort.SessionOptions:
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
