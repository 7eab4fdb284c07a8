"""A graph whose texts could see each other and their padding, were it not for the mask.

One layer of self-attention and one of feed-forward, with random weights; also in 8 bits, as the
trainer makes them: ranges from calibration, fixed in the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

WORDS = 100
WIDTH = 32

_INNER = 64
_CALIBRATED = 32
_NODES: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
    ("Gather", ["words", "input_ids"], "tokens", {}),
    *[("MatMul", ["tokens", name], name[-1], {}) for name in ("to_q", "to_k", "to_v")],
    ("Transpose", ["k"], "kt", {"perm": [0, 2, 1]}),
    ("MatMul", ["q", "kt"], "products", {}),
    ("Cast", ["attention_mask"], "mask", {"to": TensorProto.FLOAT}),
    ("Sub", ["one", "mask"], "hidden", {}),
    ("Mul", ["hidden", "far"], "distant", {}),
    ("Unsqueeze", ["distant", "second"], "bias", {}),
    ("Add", ["products", "bias"], "scores", {}),
    ("Softmax", ["scores"], "attention", {"axis": -1}),
    ("MatMul", ["attention", "v"], "seen", {}),
    ("Add", ["tokens", "seen"], "attended", {}),
    ("MatMul", ["attended", "up"], "raised", {}),
    ("Relu", ["raised"], "active", {}),
    ("MatMul", ["active", "down"], "lowered", {}),
    ("Add", ["attended", "lowered"], "states", {}),
    ("Unsqueeze", ["mask", "third"], "wide_mask", {}),
    ("Mul", ["states", "wide_mask"], "masked", {}),
    ("ReduceSum", ["masked", "second"], "sum", {"keepdims": 0}),
    ("ReduceL2", ["sum"], "length", {"axes": [1], "keepdims": 1}),
    ("Div", ["sum", "length"], "sentence_embedding", {}),
)


def write_attention_graph(path: Path) -> None:
    """Write it in fp32."""
    random = np.random.default_rng(0)

    def weights(*shape: int) -> NDArray[np.float32]:
        return random.normal(0.0, shape[0] ** -0.5, shape).astype(np.float32)

    constants: dict[str, NDArray[Any]] = {
        "words": random.normal(size=(WORDS, WIDTH)).astype(np.float32),
        **{name: weights(WIDTH, WIDTH) for name in ("to_q", "to_k", "to_v")},
        "up": weights(WIDTH, _INNER),
        "down": weights(_INNER, WIDTH),
        "one": np.array([1], np.float32),
        "far": np.array([-1e4], np.float32),
        "second": np.array([1]),
        "third": np.array([2]),
    }
    graph = helper.make_graph(
        [
            helper.make_node(kind, inputs, [output], name=output, **attributes)
            for kind, inputs, output, attributes in _NODES
        ],
        "attention",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "L"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["B", WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )


def write_quantised(exact: Path, path: Path) -> None:
    """Write the same with products of 8 bits."""
    quantize_static(
        exact,
        path,
        _Texts(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


class _Texts(CalibrationDataReader):  # type: ignore[misc]  # its package ships no types
    """Random texts, one at a time."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        lengths = random.integers(1, 40, _CALIBRATED)
        self._ids = iter([random.integers(0, WORDS, (1, length)) for length in lengths])

    def get_next(self) -> dict[str, NDArray[np.int64]] | None:
        ids = next(self._ids, None)
        return None if ids is None else {"input_ids": ids, "attention_mask": np.ones_like(ids)}
