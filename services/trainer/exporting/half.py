"""The exact graph in 16-bit floats, which GPUs compute several times as fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

_EMBEDDING = "sentence_embedding"
_ROUNDED = "rounded_embedding"


def write_half(exact: Path, path: Path) -> None:
    """Write a graph with the same inputs and outputs, and weights of half the size.

    Args:
        exact: In fp32; operators that have no 16-bit form stay as they are.
        path: Where the other goes.
    """
    model = convert_float_to_float16(onnx.load(exact), keep_io_types=True)
    graph = model.graph
    # A vector brought to its length in 16 bits is of length 1 to three digits only.
    last = next(node for node in graph.node if _EMBEDDING in node.output)
    last.output[list(last.output).index(_EMBEDDING)] = _ROUNDED
    graph.initializer.append(numpy_helper.from_array(np.array([1]), "embedding_axis"))
    graph.node.extend(
        [
            helper.make_node("ReduceL2", [_ROUNDED, "embedding_axis"], ["embedding_length"]),
            helper.make_node("Div", [_ROUNDED, "embedding_length"], [_EMBEDDING]),
        ]
    )
    onnx.save(model, path)
