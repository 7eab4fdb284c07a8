"""Embeds and classifies with this model, with nothing but numpy, onnxruntime and tokenizers.

    from loader import Model

    model = Model(".")
    print(model.embed(["My order was late."]).shape, model.classify(["My order was late."]))

Texts are read in Unicode NFC and without blanks around them; those that are too long are cut at
their end. Where `input.cleaning` in model.json names further steps, the model learnt from texts
that were cleaned so: do the same to yours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unicodedata import normalize
from warnings import warn

import numpy as np
from onnxruntime import InferenceSession
from tokenizers import Tokenizer


class Model:
    """An unpacked bundle that is ready to compute."""

    def __init__(self, directory: str, precision: str = "PRECISION_EXACT") -> None:
        """Open it; `precision` may be PRECISION_QUANTIZED where model.json has such a variant."""
        root = Path(directory)
        self.about = json.loads((root / "model.json").read_text(encoding="utf-8"))
        reads, variants = self.about["input"], self.about["variants"]
        graph = next(one["graph"]["key"] for one in variants if one["precision"] == precision)
        self.session = InferenceSession(str(root / graph), providers=["CPUExecutionProvider"])
        if steps := reads.get("cleaning"):
            warn(f"The model learnt from texts that were cleaned by {steps}.", stacklevel=2)
        self.tokenizer = Tokenizer.from_file(str(root / reads["tokenizer"]["key"]))
        self.tokenizer.enable_truncation(reads["max_tokens"])
        self.tokenizer.enable_padding(pad_id=reads.get("pad_token_id", 0))

    def compute(self, output: str, texts: list[str]) -> np.ndarray[Any, Any]:
        """Return one row a text of an output of the graph."""
        prefix = self.about["input"].get("prefix", "")
        plain = [prefix + normalize("NFC", text).strip() for text in texts]
        read = self.tokenizer.encode_batch(plain)
        ids = np.array([text.ids for text in read], np.int64)
        mask = np.array([text.attention_mask for text in read], np.int64)
        rows = self.session.run([output], {"input_ids": ids, "attention_mask": mask})[0]
        return np.asarray(rows)

    def embed(self, texts: list[str]) -> np.ndarray[Any, Any]:
        """Return a vector of length 1 for each text."""
        return self.compute("sentence_embedding", texts)

    def classify(self, texts: list[str]) -> list[dict[str, float]]:
        """Return the probability of each label, for each text."""
        logits = self.compute("logits", texts).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = powers / powers.sum(axis=1, keepdims=True)
        if self.about["label_mode"] == "LABEL_MODE_MULTI":
            shares = 0.5 + 0.5 * np.tanh(0.5 * logits)
        return [dict(zip(self.about["labels"], row, strict=True)) for row in shares.tolist()]
