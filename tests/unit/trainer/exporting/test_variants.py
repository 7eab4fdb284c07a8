from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from services.trainer.base_import import BaseEncoder
from services.trainer.encoder import collate
from services.trainer.exporting.variants import (
    Export,
    Form,
    export_base,
)
from services.trainer.recipe import RANGES
from services.trainer.tokenize import Tokenizer
from services.trainer.training import TrainedModel
from tests.tiny_base import HIDDEN, INTERMEDIATE, LAYERS

_PROBES = ["good", "the order was late", "great app thanks!", "my card was charged twice " * 9]


def _run(
    path: Path, base: BaseEncoder, texts: list[str], *, batch: int | None = None
) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    parts = []
    for start in range(0, len(texts), batch or len(texts)):
        part = texts[start : start + (batch or len(texts))]
        ids, mask = collate(Tokenizer.load(base).encode(part), base.pad_token_id)
        feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        parts.append(session.run(names, feed))
    return {
        name: np.concatenate(found)
        for name, found in zip(names, zip(*parts, strict=True), strict=True)
    }


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_exact_graph_is_the_model_with_its_temperature(
    exported: Export, model: TrainedModel, count: int
) -> None:
    # None of these was probed; all lengths and batch sizes differ from what was traced.
    texts = [f"my payment was {word}" for word in ["a", "bb", "ccc", "dddd", "eeeee", "ff", "g"]][
        :count
    ]

    outputs = _run(exported.exact.path, model.base, texts)

    assert list(outputs) == ["sentence_embedding", "logits"]
    assert np.abs(outputs["sentence_embedding"] - model.embed(texts)).max() < 1e-5
    powers = np.exp(outputs["logits"])
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    assert np.abs(probabilities - model.predict(texts)).max() < 1e-5


def test_tells_how_close_the_exact_graph_is(exported: Export) -> None:
    assert exported.exact.form is Form.EXACT
    assert exported.exact.min_cosine > 0.99999
    assert exported.exact.max_probability_difference < 1e-5
    assert exported.exact.texts == 64


def test_the_exact_graph_in_16_bits_computes_what_the_model_does(
    exported: Export, model: TrainedModel
) -> None:
    half = exported.exact.half
    assert half is not None
    texts = ["my card was charged twice", "great"]

    outputs = _run(half, model.base, texts)

    assert {rows.dtype for rows in outputs.values()} == {np.dtype(np.float32)}
    vectors, expected = outputs["sentence_embedding"], model.embed(texts)
    assert (vectors * expected).sum(axis=1).min() > 0.9999
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    assert half.stat().st_size < exported.exact.path.stat().st_size
    assert "in 16 bits too" in exported.exact.summary


def test_attention_is_fused_in_the_exact_graph(exported: Export) -> None:
    kinds = [node.op_type for node in onnx.load(exported.exact.path).graph.node]

    assert kinds.count("Attention") == LAYERS


def test_takes_the_longest_text(exported: Export, model: TrainedModel) -> None:
    outputs = _run(exported.exact.path, model.base, ["good " * 1000])

    assert np.abs(outputs["sentence_embedding"] - model.embed(["good " * 1000])).max() < 1e-5


def test_a_base_has_embeddings_alone(
    base: BaseEncoder, model: TrainedModel, tmp_path: Path
) -> None:
    export = export_base(base, tmp_path, probe_texts=_PROBES)

    assert export.variants == (export.exact,)
    outputs = _run(export.exact.path, base, ["good app"])
    assert list(outputs) == ["sentence_embedding"]
    assert np.abs(outputs["sentence_embedding"] - model.baseline.embed(["good app"])).max() < 1e-5
    assert export.exact.max_probability_difference == 0.0
    probed = _run(export.exact.path, base, _PROBES, batch=1)["sentence_embedding"]
    assert export.vector_range == pytest.approx(np.abs(probed).max(), abs=1e-5)


def test_a_model_of_the_shortest_limit_can_be_exported(base: BaseEncoder, tmp_path: Path) -> None:
    short = replace(base, max_tokens=int(RANGES["max_tokens"].least))

    export = export_base(short, tmp_path, probe_texts=_PROBES)

    outputs = _run(export.exact.path, short, ["good " * 1000])
    assert outputs["sentence_embedding"].shape == (1, HIDDEN)


def test_the_quantised_graph_is_near_and_the_same_in_any_company(
    exported: Export, model: TrainedModel
) -> None:
    _, quantised = exported.variants
    texts = [
        f"the {word} was {tone}" for word in ("bill", "day", "box") for tone in ("bad", "good")
    ]
    texts.append("my card was charged twice " * 9)

    alone = _run(quantised.path, model.base, texts, batch=1)
    together = _run(quantised.path, model.base, texts)

    cosines = (alone["sentence_embedding"] * model.embed(texts)).sum(axis=1)
    assert 0.97 < cosines.min() < 0.999999
    np.testing.assert_allclose(
        alone["sentence_embedding"], together["sentence_embedding"], atol=1e-3
    )


def test_the_down_projections_stay_as_they_are(exported: Export) -> None:
    _, quantised = exported.variants
    tensors = onnx.load(quantised.path).graph.initializer
    kinds = {
        tuple(tensor.dims): tensor.data_type
        for tensor in tensors
        if len(tensor.dims) == 2 and HIDDEN in tensor.dims
    }

    assert kinds[(INTERMEDIATE, HIDDEN)] == onnx.TensorProto.FLOAT
    assert kinds[(HIDDEN, INTERMEDIATE)] == onnx.TensorProto.INT8
    assert kinds[(HIDDEN, HIDDEN)] == onnx.TensorProto.INT8


def test_tells_what_the_quantised_graph_costs_and_wins(exported: Export) -> None:
    _, quantised = exported.variants

    assert quantised.form is Form.QUANTIZED
    assert quantised.speedup == 2.0
    assert quantised.accuracy_loss <= 1 / quantised.texts
    # Of 80, a quarter is what it was made on.
    assert quantised.texts == 60
    assert exported.refused == ()
    assert "2.0 times as fast" in quantised.summary
