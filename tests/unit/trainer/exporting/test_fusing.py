from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir
import pytest

from services.trainer.exporting import quantization
from services.trainer.exporting.fusing import fuse, fuse_between_products
from services.trainer.exporting.graph import Exportable, trace
from services.trainer.exporting.session import Session
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.tokenize import Tokenizer
from services.trainer.training import TrainedModel
from tests.tiny_base import LAYERS


@pytest.fixture(scope="module")
def plain(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    module = Exportable(model.encoder, model.head, model.temperature).eval()
    onnx_ir.save(trace(module, model.base), path)
    return path


def test_between_products_attention_is_one_node_and_no_product_is_lost(
    plain: Path, tmp_path: Path
) -> None:
    path = tmp_path / "between.onnx"
    onnx_ir.save(fuse_between_products(onnx_ir.load(plain)), path)

    nodes = Counter(node.op_type for node in onnx_ir.load(path).graph)

    assert nodes["MultiHeadAttention"] == LAYERS
    assert not nodes.keys() & {"Softmax", "IsNaN"}
    assert {product.weight for product in quantization.products(path)} == {
        product.weight for product in quantization.products(plain)
    }


@pytest.mark.parametrize("way", [fuse, fuse_between_products])
def test_a_fused_graph_computes_what_the_traced_one_does(
    way: Callable[[onnx_ir.Model], onnx_ir.Model],
    plain: Path,
    model: TrainedModel,
    learnt_from: LabelledTexts,
    tmp_path: Path,
) -> None:
    path = tmp_path / "fused.onnx"
    onnx_ir.save(way(onnx_ir.load(plain)), path)
    sequences = Tokenizer.load(model.base).encode(learnt_from.texts[:12])

    expected = Session(plain, model.base.pad_token_id).run(sequences, batch=5)
    found = Session(path, model.base.pad_token_id).run(sequences, batch=5)

    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-5)
