"""Writing a trained encoder as a directory that can be a base again."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from services.trainer.base_import import CONFIG, TOKENIZER, WEIGHTS, BaseEncoder
from services.trainer.encoder import SentenceEncoder
from services.trainer.head import Head
from services.trainer.sentence_files import write_sentence_files

HEAD = "head.safetensors"
"""weight [K, D] and bias [K] of the classifier, temperature already divided out."""


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
    described = write_sentence_files(
        directory,
        dimensions=base.dimensions,
        pooling=base.pooling,
        max_tokens=base.max_tokens,
        prefix=base.prefix,
        typed_prefixes=base.typed_prefixes,
    )
    return tuple(sorted((CONFIG, WEIGHTS, TOKENIZER, HEAD, *described)))


def load_head(directory: Path, *, multi_label: bool) -> Head:
    """Read the head that `save_encoder` wrote."""
    tensors = load_file(directory / HEAD)
    return Head(
        weight=tensors["weight"].numpy(), bias=tensors["bias"].numpy(), multi_label=multi_label
    )
