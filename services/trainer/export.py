"""A model as one ONNX graph, and the proof that the graph computes what the model does."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import torch
from onnxscript.rewriter.ort_fusions import optimize_for_ort
from torch import Tensor, nn

from services.trainer.base_import import BaseEncoder
from services.trainer.encoder import SentenceEncoder, collate, load_encoder
from services.trainer.head import Floats, Head
from services.trainer.tokenize import Tokenizer
from services.trainer.training import TrainedModel

INPUTS = ("input_ids", "attention_mask")
EMBEDDING = "sentence_embedding"
# Not "embedding": the exporter has a function of that name, and the graph would not load.
LOGITS = "logits"

MIN_COSINE = 0.9999
MAX_PROBABILITY_DIFFERENCE = 1e-3

_TIE = 2 * MAX_PROBABILITY_DIFFERENCE
# Two labels this close may change places within the difference that is allowed.

_BATCHES = (1, 8, 32)
# Alone, and beside others that make it padded: the answer must not depend on them.


class ExportMismatch(RuntimeError):
    """The graph does not compute what the model does; it must not be published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was exported and how far it is from the model."""

    path: Path
    opset: int
    min_cosine: float
    """The smallest cosine of an embedding with the model's own, over texts and batch sizes."""

    max_probability_difference: float
    """The largest, over texts, labels and batch sizes; 0 without a head."""

    texts: int
    nodes: int
    seconds: float


def export_trained(model: TrainedModel, path: Path, *, probe_texts: Sequence[str]) -> ExportReport:
    """Export encoder and head: `sentence_embedding` and `logits`, temperature divided out.

    Args:
        model: Left in evaluation mode.
        path: Where the graph goes; its directory exists.
        probe_texts: On which graph and model are compared; at least one.

    Raises:
        ExportMismatch: Where they differ by more than `MIN_COSINE` and
            `MAX_PROBABILITY_DIFFERENCE` allow, or on the winning label.
    """
    return _export(
        _Graph(model.encoder, model.head, model.temperature), model.base, path, probe_texts
    )


def export_base(base: BaseEncoder, path: Path, *, probe_texts: Sequence[str]) -> ExportReport:
    """Export an untrained base: `sentence_embedding` alone.

    Arguments and errors are those of `export_trained`.
    """
    return _export(_Graph(load_encoder(base), None, 1.0), base, path, probe_texts)


class _Graph(nn.Module):
    """The module that is exported: a flat tuple of outputs."""

    def __init__(self, encoder: SentenceEncoder, head: Head | None, temperature: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.outputs = (EMBEDDING,) if head is None else (EMBEDDING, LOGITS)
        self.head: nn.Linear | None = None
        if head is not None:
            self.head = nn.Linear(head.weight.shape[1], head.weight.shape[0])
            with torch.no_grad():
                self.head.weight.copy_(torch.from_numpy(head.weight / temperature))
                self.head.bias.copy_(torch.from_numpy(head.bias / temperature))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        embedding = self.encoder(input_ids, attention_mask)
        return (embedding,) if self.head is None else (embedding, self.head(embedding))


def _export(
    graph: _Graph, base: BaseEncoder, path: Path, probe_texts: Sequence[str]
) -> ExportReport:
    begin = time.monotonic()
    graph.eval()
    sequences = Tokenizer.load(base).encode(probe_texts)
    exported = _trace(graph, base)
    fused, _ = optimize_for_ort(exported)
    onnx_ir.save(fused, path)
    onnx.checker.check_model(path)
    cosine, difference = _compare(graph, path, sequences, base.pad_token_id)
    return ExportReport(
        path=path,
        opset=fused.opset_imports[""],
        min_cosine=cosine,
        max_probability_difference=difference,
        texts=len(sequences),
        nodes=len(fused.graph),
        seconds=time.monotonic() - begin,
    )


def _trace(graph: _Graph, base: BaseEncoder) -> onnx_ir.Model:
    # More than one row and more than one token, or the exporter takes the sizes for constants.
    ids, mask = collate([[1] * 9, [1] * 5, [1] * 7], base.pad_token_id)
    dynamic = {
        0: torch.export.Dim("batch"),
        1: torch.export.Dim("sequence", max=base.max_tokens),
    }
    with _quiet():
        program = torch.onnx.export(
            graph,
            kwargs=dict(zip(INPUTS, (ids, mask), strict=True)),
            dynamo=True,
            dynamic_shapes=dict.fromkeys(INPUTS, dynamic),
            input_names=list(INPUTS),
            output_names=list(graph.outputs),
            verbose=False,
            external_data=False,
        )
    if program is None:
        raise ExportMismatch("The exporter returned nothing.")
    return program.model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says to its developers."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # "torchvision is not installed": nothing here needs it
    try:
        with warnings.catch_warnings():
            # Ids and mask share their two sizes on purpose.
            warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
            yield
    finally:
        log.setLevel(level)


def _compare(
    graph: _Graph, path: Path, sequences: Sequence[Sequence[int]], pad_token_id: int
) -> tuple[float, float]:
    """Return the smallest cosine and the largest difference of probabilities.

    The model sees each text alone and unpadded; the graph sees it in batches of several sizes.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        alone = [graph(*collate([sequence], pad_token_id)) for sequence in sequences]
    expected = [np.concatenate(output) for output in zip(*alone, strict=True)]
    least, most = 1.0, 0.0
    for size in _BATCHES:
        parts = []
        for start in range(0, len(sequences), size):
            ids, mask = collate(sequences[start : start + size], pad_token_id)
            feed = dict(zip(INPUTS, (ids.numpy(), mask.numpy()), strict=True))
            parts.append(session.run(list(graph.outputs), feed))
        found = [np.concatenate(output) for output in zip(*parts, strict=True)]
        cosines = (expected[0] * found[0]).sum(axis=1) / np.linalg.norm(found[0], axis=1)
        least = min(least, float(cosines.min()))
        if len(found) > 1:
            most = max(most, _difference(expected[1], found[1]))
    # Written so that a NaN, which compares false with everything, is refused.
    if not (least >= MIN_COSINE and most <= MAX_PROBABILITY_DIFFERENCE):
        raise ExportMismatch(
            f"The exported graph differs from the model: cosine {least:.6f} (at least "
            f"{MIN_COSINE}), probabilities {most:.2e} apart (at most {MAX_PROBABILITY_DIFFERENCE})."
        )
    return least, most


def _difference(expected: Floats, found: Floats) -> float:
    """Return the largest difference of probabilities, given logits [N, K]."""
    right, tried = _softmax(expected), _softmax(found)
    ordered = np.sort(right, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > _TIE
    if (right.argmax(axis=1) != tried.argmax(axis=1))[clear].any():
        raise ExportMismatch("The exported graph gives another label than the model.")
    return float(np.abs(right - tried).max())


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result
