"""Running a graph on token ids, as inference runs it. Knows no texts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from services.trainer.encoder import collate
from services.trainer.exporting.graph import INPUTS
from services.trainer.head import Floats

Sequences = Sequence[Sequence[int]]
"""Token ids of several texts."""


class Session:
    """A graph in ONNX Runtime, with one thread."""

    def __init__(self, path: Path, pad_token_id: int) -> None:
        """Open the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._pad_token_id = pad_token_id
        self.path = path
        self.outputs = tuple(output.name for output in self._session.get_outputs())

    def run(self, sequences: Sequences, *, batch: int = 1) -> list[Floats]:
        """Return each output for N texts, in batches of `batch` in the order that they have."""
        parts = []
        for start in range(0, len(sequences), batch):
            ids, mask = collate(sequences[start : start + batch], self._pad_token_id)
            feed = dict(zip(INPUTS, (ids.numpy(), mask.numpy()), strict=True))
            parts.append(self._session.run(None, feed))
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def seconds(self, sequences: Sequences, batch: int) -> float:
        """Return the processor time of this thread for these texts.

        Not the wall's: with one thread the two agree on an idle machine, and only the first
        means something on a busy one.
        """
        begin = time.thread_time()
        self.run(sequences, batch=batch)
        return time.thread_time() - begin


def first_tokens(sequences: Sequences, tokens: int) -> Sequences:
    """Return the first texts that have so many tokens together, at least one."""
    totals = np.cumsum([len(sequence) for sequence in sequences])
    return sequences[: max(1, int(np.searchsorted(totals, tokens, side="right")))]
