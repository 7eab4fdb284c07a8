from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from services.trainer.exporting import exactness
from services.trainer.exporting.decision import SINGLE
from services.trainer.exporting.exactness import ExportMismatch, answers, compare, prove
from services.trainer.exporting.graph import Exportable
from services.trainer.exporting.variants import Export
from services.trainer.tokenize import Tokenizer
from services.trainer.training import TrainedModel

_PROBES = ["good", "the order was late"]


def test_a_graph_that_computes_something_else_is_refused(
    model: TrainedModel, exported: Export, tmp_path: Path
) -> None:
    graph = onnx.load(exported.exact.path)
    scale = next(
        tensor
        for tensor in graph.graph.initializer
        if tensor.dims == [model.base.dimensions] and "LayerNorm.weight" in tensor.name
    )
    values = onnx.numpy_helper.to_array(scale).copy()
    values[0] *= 3
    scale.CopyFrom(onnx.numpy_helper.from_array(values, scale.name))
    broken = tmp_path / "broken.onnx"
    onnx.save(graph, broken)
    sequences = Tokenizer.load(model.base).encode(_PROBES)
    module = Exportable(model.encoder, model.head, model.temperature).eval()
    expected = answers(module, sequences, model.base.pad_token_id)

    with pytest.raises(ExportMismatch, match="differs from the model"):
        prove(expected, broken, sequences, pad_token_id=model.base.pad_token_id, decision=SINGLE)


def _answer(*logits: float) -> list[np.ndarray]:
    return [np.ones((1, 1), dtype=np.float32), np.array([logits], dtype=np.float32)]


def test_a_graph_that_gives_another_label_is_refused() -> None:
    with pytest.raises(ExportMismatch, match="another label"):
        compare(_answer(2.0, 0.0), _answer(-2.0, 0.0), SINGLE)


def test_labels_that_tie_may_change_places() -> None:
    agreement = compare(_answer(1.0, 1.0), _answer(1.0, 1.0001), SINGLE)

    assert agreement.max_probability_difference < exactness.MAX_PROBABILITY_DIFFERENCE
