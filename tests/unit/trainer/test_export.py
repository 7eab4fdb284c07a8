from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from services.trainer import export
from services.trainer.base_import import BaseEncoder
from services.trainer.encoder import collate
from services.trainer.export import ExportMismatch, export_base, export_trained
from services.trainer.recipe import Hyperparameters
from services.trainer.tokenize import Tokenizer
from services.trainer.training import LabelledTexts, Progress, StepMetrics, TrainedModel, train
from tests.tiny_base import LAYERS

_PROBES = ["good", "the order was late", "great app thanks!", "my card was charged twice " * 9]


class _Deaf:
    def on_progress(self, progress: Progress) -> None: ...
    def on_metrics(self, metrics: StepMetrics) -> None: ...


@pytest.fixture(scope="module")
def model(base: BaseEncoder, learnt_from: LabelledTexts) -> TrainedModel:
    trained = train(
        base=base,
        labels=("bad", "good"),
        train=learnt_from,
        validation=None,
        positive_label=None,
        hyperparameters=Hyperparameters(epochs=1, batch_size=16),
        listener=_Deaf(),
        should_stop=lambda: False,
        threads=1,
    )
    return replace(trained, temperature=2.5)


@pytest.fixture(scope="module")
def exported(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> export.ExportReport:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    return export_trained(model, path, probe_texts=_PROBES)


def _run(path: Path, base: BaseEncoder, texts: list[str]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ids, mask = collate(Tokenizer.load(base).encode(texts), base.pad_token_id)
    names = [output.name for output in session.get_outputs()]
    feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    return dict(zip(names, session.run(names, feed), strict=True))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_graph_is_the_model_with_its_temperature(
    exported: export.ExportReport, model: TrainedModel, count: int
) -> None:
    # None of these was probed; all lengths and batch sizes differ from what was traced.
    texts = [f"my payment was {word}" for word in ["a", "bb", "ccc", "dddd", "eeeee", "ff", "g"]][
        :count
    ]

    outputs = _run(exported.path, model.base, texts)

    assert list(outputs) == ["sentence_embedding", "logits"]
    assert np.abs(outputs["sentence_embedding"] - model.embed(texts)).max() < 1e-5
    powers = np.exp(outputs["logits"])
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    assert np.abs(probabilities - model.predict(texts)).max() < 1e-5


def test_the_report_says_how_close_it_is(exported: export.ExportReport) -> None:
    assert exported.min_cosine > 0.99999
    assert exported.max_probability_difference < 1e-5
    assert exported.texts == len(_PROBES)


def test_attention_is_fused(exported: export.ExportReport) -> None:
    graph = onnx.load(exported.path).graph
    kinds = [node.op_type for node in graph.node]

    assert kinds.count("Attention") == LAYERS
    assert len(kinds) == exported.nodes


def test_takes_the_longest_text(exported: export.ExportReport, model: TrainedModel) -> None:
    outputs = _run(exported.path, model.base, ["good " * 1000])

    assert np.abs(outputs["sentence_embedding"] - model.embed(["good " * 1000])).max() < 1e-5


def test_a_base_has_embeddings_alone(
    base: BaseEncoder, model: TrainedModel, tmp_path: Path
) -> None:
    report = export_base(base, tmp_path / "base.onnx", probe_texts=_PROBES)

    outputs = _run(report.path, base, ["good app"])
    assert list(outputs) == ["sentence_embedding"]
    assert np.abs(outputs["sentence_embedding"] - model.baseline.embed(["good app"])).max() < 1e-5
    assert report.max_probability_difference == 0.0


def test_a_graph_that_computes_something_else_is_refused(
    exported: export.ExportReport, model: TrainedModel, tmp_path: Path
) -> None:
    graph = onnx.load(exported.path)
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
    expected = export._Graph(model.encoder, model.head, model.temperature).eval()

    with pytest.raises(ExportMismatch, match="differs from the model"):
        export._compare(expected, broken, sequences, model.base.pad_token_id)


def test_a_graph_that_gives_another_label_is_refused() -> None:
    expected = np.array([[2.0, 0.0]], dtype=np.float32)

    with pytest.raises(ExportMismatch, match="another label"):
        export._difference(expected, -expected)


def test_labels_that_tie_may_change_places() -> None:
    expected = np.array([[1.0, 1.0]], dtype=np.float32)
    found = np.array([[1.0, 1.0001]], dtype=np.float32)

    assert export._difference(expected, found) < export.MAX_PROBABILITY_DIFFERENCE
