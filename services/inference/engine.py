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

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

_INPUTS = {"input_ids", "attention_mask"}


class Output(StrEnum):
    """An output of a graph."""

    EMBEDDING = "sentence_embedding"
    LOGITS = "logits"


class GraphInvalid(Exception):
    """The graph cannot be opened, or is not what its manifest says."""


class EngineDied(Exception):
    """The process that computed is gone, and with it what it was computing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What an engine takes at once."""

    texts: int
    """Texts of a batch, at least 1."""

    padded_tokens: int
    """Texts of a batch times the longest of them; a longer text runs alone."""

    runs: int
    """Batches that may be under way at the same time, at least 1."""


class Engine(Protocol):
    """What computes; thread safe."""

    limits: EngineLimits
    """How much it takes at once; whoever calls keeps to it."""

    def run(
        self, token_ids: Sequence[Sequence[int]], outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        """Compute a few texts in one pass.

        Args:
            token_ids: For each text its token ids, at least one each.
            outputs: Which outputs, at least one.

        Returns:
            For each output one row a text, all in the order asked for.

        Raises:
            EngineDied: Where it ended before it had an answer; another run may succeed.
        """
        ...


# ONNX Runtime takes any number of runs in its own process: the workers are the bound. On a CPU
# one 16-token text reaches most of a core's peak already, and a batch of 2,048 tokens (some
# 0.3 s of all-MiniLM-L6-v2 on one core) is as long as anybody behind it should wait.
_CPU_LIMITS = EngineLimits(texts=32, padded_tokens=2_048, runs=1_024)

# A GPU is idle until thousands of tokens are under way; one batch is copied while one computes.
_CUDA_LIMITS = EngineLimits(texts=256, padded_tokens=16_384, runs=2)


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
        self.limits = _CUDA_LIMITS if device is Device.CUDA else _CPU_LIMITS
        self._check(shape)

    def run(
        self, token_ids: Sequence[Sequence[int]], outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        """Compute a few texts in one pass; see `Engine.run`."""
        ids, mask = _padded(token_ids, self._pad)
        return tuple(self._session.run(list(outputs), {"input_ids": ids, "attention_mask": mask}))

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
            (rows,) = self.run([[self._pad]], (output,))
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
