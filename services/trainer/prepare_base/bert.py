"""A directory of a BERT encoder, from its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from services.trainer.base_import import CONFIG, WEIGHTS, Pooling
from services.trainer.sentence_files import write_sentence_files

Tensors = Mapping[str, npt.NDArray[np.float32]]

_TYPES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BertShape:
    """What has to be known beside the tensors."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    pad_token_id: int
    max_tokens: int
    prefix: str = ""
    typed_prefixes: Mapping[str, str] = field(default_factory=dict)


def write_bert(directory: Path, tensors: Tensors, shape: BertShape) -> None:
    """Write weights, configuration and the files of sentence-transformers: mean pooling.

    Args:
        directory: Where to; it exists, and holds the tokenizer.
        tensors: By the names of `transformers.BertModel`, without the pooler.
        shape: Of the encoder.
    """
    # Mean pooling has no use for BERT's own pooler, but a model without one would be filled up
    # with random numbers, other ones each time.
    pooler = {
        "pooler.dense.weight": np.zeros((shape.hidden, shape.hidden), dtype=np.float32),
        "pooler.dense.bias": np.zeros(shape.hidden, dtype=np.float32),
    }
    save_file({**tensors, **pooler}, directory / WEIGHTS, metadata={"format": "pt"})
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": shape.positions,
        "type_vocab_size": _TYPES,
        "vocab_size": shape.vocabulary,
        "pad_token_id": shape.pad_token_id,
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }
    (directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_sentence_files(
        directory,
        dimensions=shape.hidden,
        pooling=Pooling.MEAN,
        max_tokens=shape.max_tokens,
        prefix=shape.prefix,
        typed_prefixes=shape.typed_prefixes,
    )
