"""Writing a trained encoder as a directory that can be a base again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from services.trainer.base_import import (
    CONFIG,
    MODULES,
    PROMPTS,
    SENTENCE_CONFIG,
    TOKENIZER,
    WEIGHTS,
    BaseEncoder,
    Pooling,
)
from services.trainer.encoder import SentenceEncoder
from services.trainer.head import Head

HEAD = "head.safetensors"
"""weight [K, D] and bias [K] of the classifier, temperature already divided out."""

_POOLING = "1_Pooling"
_PROMPT = "default"


def save_encoder(
    base: BaseEncoder,
    encoder: SentenceEncoder,
    head: Head,
    temperature: float,
    directory: Path,
) -> tuple[str, ...]:
    """Write weights, head, tokenizer and configuration.

    Returns:
        The files, as paths relative to `directory`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in encoder.backbone.state_dict().items()}
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
    classifier = {
        "weight": torch.from_numpy(head.weight / temperature),
        "bias": torch.from_numpy(head.bias / temperature),
    }
    save_file(classifier, directory / HEAD)
    shutil.copyfile(base.directory / CONFIG, directory / CONFIG)
    shutil.copyfile(base.directory / TOKENIZER, directory / TOKENIZER)
    pooling = {
        "word_embedding_dimension": base.dimensions,
        "pooling_mode_cls_token": base.pooling is Pooling.CLS,
        "pooling_mode_mean_tokens": base.pooling is Pooling.MEAN,
        "pooling_mode_max_tokens": base.pooling is Pooling.MAX,
    }
    (directory / _POOLING).mkdir(exist_ok=True)
    _write(directory / _POOLING / CONFIG, pooling)
    _write(directory / SENTENCE_CONFIG, {"max_seq_length": base.max_tokens})
    kinds = (("", "Transformer"), (_POOLING, "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, (path, kind) in enumerate(kinds)
    ]
    _write(directory / MODULES, modules)
    files = [CONFIG, WEIGHTS, TOKENIZER, HEAD, MODULES, SENTENCE_CONFIG, f"{_POOLING}/{CONFIG}"]
    if base.prefix:
        prompts = {"prompts": {_PROMPT: base.prefix}, "default_prompt_name": _PROMPT}
        _write(directory / PROMPTS, prompts)
        files.append(PROMPTS)
    return tuple(sorted(files))


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
