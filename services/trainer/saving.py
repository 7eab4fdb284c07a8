"""Writing a trained encoder as a directory that can be a base again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from services.trainer.base_import import CONFIG, MATRYOSHKA, TOKENIZER, WEIGHTS, BaseEncoder
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
    *,
    matryoshka_dimensions: Sequence[int] = (),
) -> tuple[str, ...]:
    """Write weights, head, tokenizer and configuration.

    Args:
        base: What it was made of.
        encoder: Trained.
        head: Likewise.
        temperature: Divided out of the head.
        directory: Made where it is missing.
        matryoshka_dimensions: To which numbers embeddings may be cut, as it was trained for them;
            what the base says of itself holds no longer.

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
    _write_config(base.directory / CONFIG, directory / CONFIG, matryoshka_dimensions)
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


def _write_config(source: Path, target: Path, matryoshka_dimensions: Sequence[int]) -> None:
    config = json.loads(source.read_text(encoding="utf-8"))
    config.pop(MATRYOSHKA, None)
    if matryoshka_dimensions:
        config[MATRYOSHKA] = list(matryoshka_dimensions)
    target.write_text(json.dumps(config, indent=2), encoding="utf-8")


def load_head(directory: Path, *, multi_label: bool) -> Head:
    """Read the head that `save_encoder` wrote."""
    tensors = load_file(directory / HEAD)
    return Head(
        weight=tensors["weight"].numpy(), bias=tensors["bias"].numpy(), multi_label=multi_label
    )
