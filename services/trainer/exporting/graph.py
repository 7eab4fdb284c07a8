"""From the torch module to one ONNX graph. Knows no texts and judges nothing."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir
import torch
from torch import Tensor, nn

from services.trainer.base_import import BaseEncoder
from services.trainer.encoder import SentenceEncoder, collate
from services.trainer.head import Head

INPUTS = ("input_ids", "attention_mask")
EMBEDDING = "sentence_embedding"
# Not "embedding": the exporter has a function of that name, and the graph would not load.
LOGITS = "logits"


class ExportFailed(RuntimeError):
    """No graph can be made of the encoder."""


class Exportable(nn.Module):
    """The module that is exported: a flat tuple of outputs, temperature divided out."""

    def __init__(self, encoder: SentenceEncoder, head: Head | None, temperature: float) -> None:
        """Take what was trained; without a head there is no `logits`."""
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
        """Return embeddings [B, D] and, with a head, logits [B, K]."""
        embedding = self.encoder(input_ids, attention_mask)
        return (embedding,) if self.head is None else (embedding, self.head(embedding))


def trace(module: Exportable, base: BaseEncoder) -> onnx_ir.Model:
    """Return the graph as the exporter writes it, nothing fused.

    Raises:
        ExportFailed: Where the exporter makes no graph of it.
    """
    # More than one row and more than one token, or the exporter takes the sizes for constants; and
    # no more tokens than the shortest limit that a run may have.
    ids, mask = collate([[1] * 7, [1] * 5, [1] * 6], base.pad_token_id)
    dynamic = {
        0: torch.export.Dim("batch"),
        1: torch.export.Dim("sequence", max=base.max_tokens),
    }
    with _quiet():
        program = torch.onnx.export(
            module,
            kwargs=dict(zip(INPUTS, (ids, mask), strict=True)),
            dynamo=True,
            dynamic_shapes=dict.fromkeys(INPUTS, dynamic),
            input_names=list(INPUTS),
            output_names=list(module.outputs),
            verbose=False,
            external_data=False,
        )
    if program is None:
        raise ExportFailed("The exporter returned nothing.")
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
