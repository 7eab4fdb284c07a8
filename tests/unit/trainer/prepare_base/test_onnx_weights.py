from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from services.trainer.base_sources import SourceError
from services.trainer.prepare_base.onnx_weights import read_onnx

_BIAS = np.arange(3, dtype=np.float32)
_MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


def _graph(path: Path, node_name: str) -> Path:
    """Write what torch's exporter writes of a linear layer: its matrix transposed and numbered."""
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["product"], name=node_name),
        helper.make_node("Add", ["product", "model.0.auto_model.layer.0.dense.bias"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(_MATRIX, "onnx::MatMul_7"),
        numpy_helper.from_array(_BIAS, "model.0.auto_model.layer.0.dense.bias"),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["B", width])
        for name, width in (("x", 2), ("y", 3))
    ]
    graph = helper.make_graph(nodes, "linear", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph), path)
    return path


def test_a_matrix_takes_the_name_of_its_node_and_stands_upright(tmp_path: Path) -> None:
    name = "/model/model.0/auto_model/layer.0/dense/MatMul"

    tensors = read_onnx(_graph(tmp_path / "model.onnx", name))

    assert tensors.keys() == {"layer.0.dense.weight", "layer.0.dense.bias"}
    np.testing.assert_array_equal(tensors["layer.0.dense.weight"], _MATRIX.T)
    np.testing.assert_array_equal(tensors["layer.0.dense.bias"], _BIAS)


def test_a_matrix_of_no_known_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'MatMul_3' of no known layer"):
        read_onnx(_graph(tmp_path / "model.onnx", "MatMul_3"))
