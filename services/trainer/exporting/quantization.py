"""An 8-bit form of a graph: which products are computed in integers, and with what scales.

Every product with a constant matrix can be: activations as 8-bit numbers whose range was seen
on real texts, weights as 7-bit numbers with a scale for each column. The ranges are constants of
the graph, so what a text gives does not depend on the texts beside it. Judges nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir

from services.trainer.exporting.session import Sequences, Session
from services.trainer.head import Floats

_ACTIVATION_LEVELS = 255
_LEAST_RANGE = 1e-20
# Of an activation that is always 0.

_WEIGHT_LEVELS = 63
# Seven bits and not eight: processors without VNNI add two products in 16 bits, which larger
# weights overflow. With these every processor gives the same sums.


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product of activations with a constant matrix."""

    weight: str
    """Name of the matrix in the graph."""

    activation: str
    """Name of what it is multiplied with."""

    rows: int
    columns: int


Ranges = Mapping[str, tuple[float, float]]
"""Least and greatest value of each activation, 0 included."""


def products(graph: Path) -> list[Product]:
    """Return the products that can be quantised, in the order of the graph."""
    return [_product(node) for node in _product_nodes(onnx_ir.load(graph))]


def observe(graph: Path, sequences: Sequences, *, scratch: Path) -> Ranges:
    """Return the ranges of what is multiplied, on these texts.

    Each text is read alone: padding is nothing that a range should make room for.

    Args:
        graph: One in which every product is a node of its own.
        sequences: Token ids of texts such as the model will be asked.
        scratch: A directory for the graph that is observed.
    """
    model = onnx_ir.load(graph)
    names: list[str] = []
    while model.graph.outputs:
        model.graph.outputs.pop()
    for node in _product_nodes(model):
        value = _input(node, 0)
        if value.name not in names:
            names.append(str(value.name))
            value.dtype = onnx_ir.DataType.FLOAT
            model.graph.outputs.append(value)
    path = scratch / "observed.onnx"
    onnx_ir.save(model, path)
    # The padding token is never needed: no text has company.
    session = Session(path, 0)
    least, greatest = np.zeros(len(names)), np.zeros(len(names))
    for sequence in sequences:
        outputs = session.run([sequence])
        least = np.minimum(least, [output.min() for output in outputs])
        greatest = np.maximum(greatest, [output.max() for output in outputs])
    path.unlink()
    order = session.outputs
    return {
        name: (float(low), float(high))
        for name, low, high in zip(order, least, greatest, strict=True)
    }


def quantise(graph: Path, path: Path, *, ranges: Ranges, weights: Iterable[str]) -> None:
    """Write the graph with some of its products in integers.

    Args:
        graph: One in which every product is a node of its own: what is fused into others stays as
            it is, and that is slower.
        path: Where the new one goes.
        ranges: Of `observe`.
        weights: Names of the matrices that are quantised.
    """
    model = onnx_ir.load(graph)
    chosen = set(weights)
    rounded: dict[str, onnx_ir.Value] = {}
    for node in _product_nodes(model):
        activation, weight = _input(node, 0), _input(node, 1)
        if weight.name not in chosen:
            continue
        name = str(activation.name)
        if name not in rounded:
            rounded[name] = _round_activation(model.graph, node, activation, ranges[name])
        node.replace_input_with(0, rounded[name])
        node.replace_input_with(1, _round_weight(model.graph, node, weight))
        if not weight.uses():
            del model.graph.initializers[str(weight.name)]
    onnx_ir.save(model, path)
    # A graph refers to itself in circles, and is large: of dozens that are tried in a row none
    # may wait until the collector comes by.
    del model, rounded
    gc.collect()


def _product_nodes(model: onnx_ir.Model) -> list[onnx_ir.Node]:
    # The head is a Gemm and stays as it is: it is small, and its output is the answer.
    return [
        node
        for node in model.graph
        if node.op_type == "MatMul" and _constant(node.inputs[1]) is not None
    ]


def _constant(value: onnx_ir.Value | None) -> Floats | None:
    """Return the matrix that a value always is, or None."""
    if value is None or value.const_value is None or len(value.const_value.shape) != 2:  # noqa: PLR2004 (rows and columns)
        return None
    matrix: Floats = value.const_value.numpy()
    return matrix


def _product(node: onnx_ir.Node) -> Product:
    weight = _input(node, 1)
    rows, columns = _matrix(weight).shape
    return Product(
        weight=str(weight.name),
        activation=str(_input(node, 0).name),
        rows=rows,
        columns=columns,
    )


def _input(node: onnx_ir.Node, index: int) -> onnx_ir.Value:
    value = node.inputs[index]
    if value is None:
        raise AssertionError(f"{node.op_type} has two inputs")
    return value


def _matrix(weight: onnx_ir.Value) -> Floats:
    matrix = _constant(weight)
    if matrix is None:
        raise AssertionError(f"{weight.name} was found to be constant")
    return matrix


def _round_activation(
    graph: onnx_ir.Graph, before: onnx_ir.Node, value: onnx_ir.Value, bounds: tuple[float, float]
) -> onnx_ir.Value:
    least, greatest = bounds
    scale = max(greatest - least, _LEAST_RANGE) / _ACTIVATION_LEVELS
    zero = round(-least / scale)
    parameters = [
        _add(graph, f"{value.name}_scale", np.array(scale, np.float32)),
        _add(graph, f"{value.name}_zero", np.array(zero, np.uint8)),
    ]
    rounded = onnx_ir.node("QuantizeLinear", [value, *parameters])
    restored = onnx_ir.node("DequantizeLinear", [rounded.outputs[0], *parameters])
    graph.insert_before(before, [rounded, restored])
    return restored.outputs[0]


def _round_weight(
    graph: onnx_ir.Graph, before: onnx_ir.Node, weight: onnx_ir.Value
) -> onnx_ir.Value:
    matrix = _matrix(weight)
    scales = np.abs(matrix).max(axis=0).astype(np.float32) / _WEIGHT_LEVELS  # [columns]
    scales[scales == 0] = 1.0
    levels = np.round(matrix / scales).astype(np.int8)
    parameters = [
        _add(graph, f"{weight.name}_levels", levels),
        _add(graph, f"{weight.name}_scales", scales),
        _add(graph, f"{weight.name}_zeros", np.zeros(len(scales), np.int8)),
    ]
    restored = onnx_ir.node("DequantizeLinear", parameters, attributes={"axis": 1})
    graph.insert_before(before, [restored])
    return restored.outputs[0]


def _add(graph: onnx_ir.Graph, name: str, array: npt.NDArray[np.generic]) -> onnx_ir.Value:
    value = onnx_ir.Value(name=name, const_value=onnx_ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value
