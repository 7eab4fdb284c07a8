"""One ONNX graph, opened and ready to run. Knows neither texts nor where graphs come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from services.inference.devices import Device, providers
from services.inference.grouping import CPU_GROUPS, CUDA_GROUPS, GroupLimits

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

_INPUTS = {"input_ids", "attention_mask"}


class Output(StrEnum):
    """An output of a graph."""

    EMBEDDING = "sentence_embedding"
    LOGITS = "logits"


class GraphInvalid(Exception):
    """The graph cannot be opened, or is not what its manifest says."""


class Engine(Protocol):
    """What computes; thread safe, any number of runs at once."""

    groups: GroupLimits
    """How many texts it likes to run together."""

    def run(self, token_ids: Sequence[Sequence[int]], output: Output) -> FloatArray:
        """Compute one output for a few texts.

        Args:
            token_ids: For each text its token ids, at least one each.
            output: Which.

        Returns:
            One row a text, in the same order.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphShape:
    """What a manifest says of a graph."""

    dimension: int
    """Length of the embeddings."""

    labels: int
    """Number of labels, 0 for a graph without a head."""

    pad_token_id: int
    """What fills short texts up, on the right."""


class OnnxEngine:
    """A graph in ONNX Runtime."""

    def __init__(self, path: Path, *, shape: GraphShape, device: Device, threads: int) -> None:
        """Open the graph and check it against its manifest.

        Args:
            path: The graph, whole in one file.
            shape: What it must be.
            device: Where it runs.
            threads: Threads of one run on the CPU, at least 1.

        Raises:
            GraphInvalid: Where it cannot be opened, or its inputs or outputs are others.
        """
        try:
            self._session = ort.InferenceSession(
                str(path), _session_options(threads), providers=providers(device)
            )
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise GraphInvalid(f"the graph cannot be opened: {error}") from error
        self._pad = shape.pad_token_id
        self.groups = CUDA_GROUPS if device is Device.CUDA else CPU_GROUPS
        self._check(shape)

    def run(self, token_ids: Sequence[Sequence[int]], output: Output) -> FloatArray:
        """Compute one output; see `Engine.run`."""
        ids, mask = _padded(token_ids, self._pad)
        results = self._session.run([output.value], {"input_ids": ids, "attention_mask": mask})
        rows: FloatArray = results[0]
        return rows

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
            rows = self.run([[self._pad]], output)
            if rows.shape != (1, width) or rows.dtype != np.float32:
                raise GraphInvalid(
                    f"the graph's output {output} is {rows.dtype} of shape {rows.shape}, "
                    f"its manifest says float32 of shape {(1, width)}"
                )


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
