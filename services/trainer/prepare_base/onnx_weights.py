"""The tensors of a BERT encoder out of an ONNX graph that torch exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from services.trainer.base_sources import SourceError
from services.trainer.prepare_base.bert import Tensors

_MODULE = "auto_model."
_NODE = "/auto_model/"


def read_onnx(graph: Path) -> Tensors:
    """Return the tensors by the names of `transformers.BertModel`.

    Vectors and tables keep their names in a graph. A matrix that multiplies is stored transposed,
    under a number: the name of its node tells which it is.

    Raises:
        SourceError: Where a matrix cannot be told.
    """
    model = onnx.load(graph)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    tensors = {
        name.partition(_MODULE)[2]: np.array(array, dtype=np.float32)
        for name, array in constants.items()
        if _MODULE in name
    }
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in constants:
            continue
        path = node.name.partition(_NODE)[2].removesuffix("/MatMul")
        if not path:
            raise SourceError(f"The graph has a product {node.name!r} of no known layer.")
        matrix = constants[node.input[1]]
        tensors[f"{path.replace('/', '.')}.weight"] = np.ascontiguousarray(matrix.T)
    return tensors
