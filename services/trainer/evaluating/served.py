"""A published model as it is served: its ONNX graph, its tokenizer, its way to clean texts.

Needs no torch, and says what Embed and Classify would say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tokenizers

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.precision_pb2 import Precision
from services.common import manifests
from services.common.cleaning import Cleaner
from services.common.cleaning_proto import cleaning_from_proto
from services.common.storage import ObjectStore
from services.trainer.evaluation.arrays import FloatArray, IntArray
from services.trainer.head import probabilities

_OUTPUTS = ["sentence_embedding", "logits"]
_BATCH_TOKENS = 4096
# Padded tokens of one batch: 64 texts of 64 tokens, or 8 of 512.

_TOKENIZED_TEXTS = 4096
# At once: in the tokenizer's own form a token takes some hundred bytes, afterwards four.


class ServedModel:
    """Answers for one published model.

    Args:
        manifest: Of a fine-tuned model.
        graph: The graph of its EXACT variant.
        tokenizer: Its `tokenizer.json`.
        threads: For the graph.
    """

    def __init__(
        self, manifest: ModelManifest, *, graph: Path, tokenizer: Path, threads: int
    ) -> None:
        """Load the graph."""
        self.labels = tuple(manifest.labels)
        self.multi_label = manifest.label_mode == LabelMode.LABEL_MODE_MULTI
        self.thresholds: FloatArray = np.array(manifest.thresholds)
        self._prefix = manifest.input.prefix
        self._pad_token_id = manifest.input.pad_token_id
        self._cleaner = Cleaner(cleaning_from_proto(manifest.input.cleaning))
        self._tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest.input.max_tokens)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin while they wait would slow a run beside this.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def answer(self, texts: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Return embeddings [N, D], rows of length 1, and probabilities [N, K]."""
        sequences = [
            ids
            for begin in range(0, len(texts), _TOKENIZED_TEXTS)
            for ids in self._ids(texts[begin : begin + _TOKENIZED_TEXTS])
        ]
        order = np.argsort([len(sequence) for sequence in sequences], kind="stable")
        parts: list[list[FloatArray]] = []
        start = 0
        while start < len(order):
            # The longest comes last: as many as fit when padded to it.
            end = start + 1
            while (
                end < len(order) and (end - start + 1) * len(sequences[order[end]]) <= _BATCH_TOKENS
            ):
                end += 1
            parts.append(self._run([sequences[row] for row in order[start:end]]))
            start = end
        back = np.argsort(order)
        embeddings, logits = (np.concatenate(output)[back] for output in zip(*parts, strict=True))
        wide = logits.astype(np.float64)
        return embeddings, probabilities(wide, multi_label=self.multi_label)

    def _ids(self, texts: Sequence[str]) -> list[IntArray]:
        cleaned = [self._prefix + self._cleaner.clean(text).text for text in texts]
        found = self._tokenizer.encode_batch_fast(cleaned)
        return [np.array(one.ids, dtype=np.int32) for one in found]

    def _run(self, sequences: Sequence[IntArray]) -> list[FloatArray]:
        shape = len(sequences), max(map(len, sequences))
        ids = np.full(shape, self._pad_token_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        feed = {"input_ids": ids, "attention_mask": mask}
        outputs: list[Any] = self._session.run(_OUTPUTS, feed)
        return outputs


def fetch(
    store: ObjectStore, manifest: ModelManifest, directory: Path, *, threads: int
) -> ServedModel:
    """Download a published model, verified, and load it.

    Raises:
        DataLoss: Where a file is missing or is not what the manifest says.
    """
    exact = next(
        variant for variant in manifest.variants if variant.precision == Precision.PRECISION_EXACT
    )
    graph, tokenizer = directory / "model.onnx", directory / "tokenizer.json"
    manifests.fetch(store, exact.graph, graph)
    manifests.fetch(store, manifest.input.tokenizer, tokenizer)
    return ServedModel(manifest, graph=graph, tokenizer=tokenizer, threads=threads)
