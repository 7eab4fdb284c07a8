"""A graph that computes every text at once but those with one word: these for ever."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.tiny_base import VOCABULARY

ENDLESS_WORD = VOCABULARY[-1]
"""The word with which a run does not end while a test lasts."""

ENDLESS_TOKEN = len(VOCABULARY) - 1
"""The same as the graph sees it."""


def endless_graph() -> bytes:
    """Return a graph without head and of dimension 1, whose vector is 1 for every text."""
    nodes = [
        helper.make_node("ReduceMax", ["input_ids"], ["highest"], keepdims=0),
        helper.make_node("Equal", ["highest", "token"], ["is_there"]),
        helper.make_node("Cast", ["is_there"], ["flag"], to=TensorProto.INT64),
        helper.make_node("Mul", ["flag", "very_many"], ["steps"]),
        helper.make_node("Loop", ["steps", "true", "zero"], ["looped"], body=_body()),
        helper.make_node("ReduceSum", ["attention_mask", "second"], ["sums"], keepdims=1),
        helper.make_node("Cast", ["sums"], ["lengths"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["lengths", "looped"], ["zeros"]),
        helper.make_node("Exp", ["zeros"], ["sentence_embedding"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(ENDLESS_TOKEN), "token"),
        numpy_helper.from_array(np.array(2**40), "very_many"),
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
