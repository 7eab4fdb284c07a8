from __future__ import annotations

import ctypes

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from services.inference.devices import (
    PROBE_GRAPH,
    Device,
    DeviceUnavailable,
    DeviceWish,
    choose_device,
)


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def test_the_probe_is_what_its_comment_says() -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])

    assert onnx.load_from_string(PROBE_GRAPH) == model


def test_the_probe_runs() -> None:
    session = ort.InferenceSession(PROBE_GRAPH, providers=["CPUExecutionProvider"])

    assert session.run(None, {"x": np.array(3, np.float32)}) == [3]


def test_cpu_is_taken_where_it_is_asked_for() -> None:
    assert choose_device(DeviceWish.CPU) is Device.CPU


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_cuda_is_refused_where_it_does_not_work() -> None:
    with pytest.raises(DeviceUnavailable, match="Install the extra inference-gpu"):
        choose_device(DeviceWish.CUDA)


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_auto_takes_the_cpu_where_cuda_does_not_work() -> None:
    assert choose_device(DeviceWish.AUTO) is Device.CPU


@pytest.mark.skipif(not has_driver(), reason="this machine has no NVIDIA driver")
def test_cuda_is_taken_where_it_works() -> None:
    assert choose_device(DeviceWish.CUDA) is Device.CUDA
