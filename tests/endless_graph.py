"""A graph that computes for as many steps as the first token says: with a large one, for ever."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ENDLESS = 2**31 - 1
"""The token with which a run does not end while a test lasts."""


def endless_graph() -> bytes:
    """Return a graph without head and of dimension 1, whose vector is 1 for every text."""
    nodes = [
        helper.make_node("ReduceMax", ["input_ids"], ["steps"], keepdims=0),
        helper.make_node("Loop", ["steps", "true", "zero"], ["looped"], body=_body()),
        helper.make_node("ReduceSum", ["attention_mask", "second"], ["sums"], keepdims=1),
        helper.make_node("Cast", ["sums"], ["lengths"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["lengths", "looped"], ["zeros"]),
        helper.make_node("Exp", ["zeros"], ["sentence_embedding"]),
    ]
    constants = [
        numpy_helper.from_array(np.ones((), np.bool_), "true"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
        numpy_helper.from_array(np.array([1]), "second"),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "L"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["B", 1])
    graph = helper.make_graph(nodes, "endless", inputs, [output], constants)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _body() -> onnx.GraphProto:
    scalar = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (
            ("step", TensorProto.INT64),
            ("go_on", TensorProto.BOOL),
            ("value", TensorProto.FLOAT),
            ("goes_on", TensorProto.BOOL),
            ("negated", TensorProto.FLOAT),
        )
    ]
    nodes = [
        helper.make_node("Identity", ["go_on"], ["goes_on"]),
        helper.make_node("Neg", ["value"], ["negated"]),
    ]
    return helper.make_graph(nodes, "step", scalar[:3], scalar[3:])
