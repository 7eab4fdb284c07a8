"""Runs of a graph in shapes of which there are few, each with buffers of its own on the device.

A GPU computes a small batch faster than the processor can ask for its kernels one by one. Of a
run whose shape and buffers never change CUDA keeps all that was asked for, and repeats it in one
step. Not thread safe: such runs belong to the thread that made the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import onnxruntime as ort

from services.inference.engine import FloatArray, IntArray, Output

_TEXTS = (1, 2, 4, 8)
_TOKENS = (16, 32, 64, 128)
# Beyond 8 texts of 128 tokens the device computes longer than it is asked. Doubling wastes half
# of a run at worst, and leaves 16 shapes, whose buffers are some hundred kB each.

_NUMBER = "gpu_graph_id"
_UNKEPT = "-1"  # ONNX Runtime keeps nothing of a run under this number


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """A shape that runs are brought to."""

    texts: int
    tokens: int


BUCKETS = tuple(Bucket(texts, tokens) for texts, tokens in product(_TEXTS, _TOKENS))


def bucket_for(texts: int, tokens: int) -> Bucket | None:
    """Return the smallest bucket that a batch fits into; None where it is larger than all.

    Args:
        texts: At least 1.
        tokens: Of the longest, at least 1.
    """
    fitting = (one for one in BUCKETS if one.texts >= texts and one.tokens >= tokens)
    return min(fitting, key=lambda one: one.texts * one.tokens, default=None)


class BucketedSession:
    """A session, and the buffers of the buckets that were used."""

    def __init__(
        self, session: ort.InferenceSession, widths: Mapping[Output, int], *, device: str
    ) -> None:
        """Allocate nothing yet.

        Args:
            session: For CUDA opened with `enable_cuda_graph`.
            widths: Of each output.
            device: Where buffers are, as ONNX Runtime names it.
        """
        self._session = session
        self._widths = widths
        self._device = device
        self._bound: dict[Bucket, _Bound] = {}

    def run(
        self, ids: IntArray, mask: IntArray, outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        """Return the outputs of (texts, tokens) ids under their mask."""
        bucket = bucket_for(*ids.shape)
        if bucket is None:
            options = ort.RunOptions()
            options.add_run_config_entry(_NUMBER, _UNKEPT)
            feed = {"input_ids": ids, "attention_mask": mask}
            return tuple(self._session.run(list(outputs), feed, options))
        bound = self._bound.get(bucket)
        if bound is None:
            bound = self._bound[bucket] = _Bound(self._session, bucket, self._widths, self._device)
        return bound.run(ids, mask, outputs)


class _Bound:
    """The buffers of one bucket."""

    def __init__(
        self,
        session: ort.InferenceSession,
        bucket: Bucket,
        widths: Mapping[Output, int],
        device: str,
    ) -> None:
        shape = (bucket.texts, bucket.tokens)
        self._session = session
        self._shape = shape
        self._inputs = [_buffer(shape, np.int64, device) for _ in range(2)]
        self._outputs = {
            output: _buffer((bucket.texts, width), np.float32, device)
            for output, width in widths.items()
        }
        self._binding = session.io_binding()
        for name, buffer in zip(("input_ids", "attention_mask"), self._inputs, strict=True):
            self._binding.bind_ortvalue_input(name, buffer)
        for output, buffer in self._outputs.items():
            self._binding.bind_ortvalue_output(output.value, buffer)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry(_NUMBER, str(BUCKETS.index(bucket)))

    def run(
        self, ids: IntArray, mask: IntArray, outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        texts = len(ids)
        for buffer, part in zip(self._inputs, (ids, mask), strict=True):
            whole = np.zeros(self._shape, np.int64)
            whole[:texts, : part.shape[1]] = part
            # A text without tokens has no mean: those that only fill up have one.
            whole[texts:, 0] = 1
            buffer.update_inplace(whole)
        self._session.run_with_iobinding(self._binding, self._options)
        return tuple(self._outputs[output].numpy()[:texts] for output in outputs)


def _buffer(shape: tuple[int, int], kind: type[np.generic], device: str) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, device, 0)
