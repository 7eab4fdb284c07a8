"""What computes, as everybody else sees it. Knows neither texts nor how it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


class Output(StrEnum):
    """An output of a graph."""

    EMBEDDING = "sentence_embedding"
    LOGITS = "logits"


class GraphInvalid(Exception):
    """The graph cannot be opened, or is not what its manifest says."""


class EngineDied(Exception):
    """The process that computed is gone, and with it what it was computing."""


class RunFailed(Exception):
    """A run ended with an error; other texts may still be computed."""


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
            RunFailed: Where these texts cannot be computed.
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


class Engines(Protocol):
    """Where graphs are opened; thread safe."""

    @property
    def alive(self) -> bool:
        """Whether a run that begins now has something to run on."""
        ...

    @property
    def prefer_half(self) -> bool:
        """Whether graphs in 16-bit floats are faster here, where they are proven equal."""
        ...

    @property
    def copies(self) -> float:
        """Memory of a graph that is open, for each byte of it; at least 1."""
        ...

    def open(self, path: Path, shape: GraphShape) -> Engine:
        """Open a graph and check it against its manifest; it is closed when it is forgotten.

        Args:
            path: The graph, whole in one file, which may be removed once this returns.
            shape: What it must be.

        Raises:
            GraphInvalid: Where it cannot be opened, or its inputs or outputs are others.
            EngineDied: Where opening it ended the process that tried.
        """
        ...

    def close(self) -> None:
        """End what computes; runs that are under way end with `EngineDied`."""
        ...
