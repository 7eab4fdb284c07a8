"""The small files by which sentence-transformers and `base_import` know what an encoder wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from services.trainer.base_import import CONFIG, MODULES, PROMPTS, SENTENCE_CONFIG, Pooling

_POOLING = "1_Pooling"
_PROMPT = "default"


def write_sentence_files(
    directory: Path,
    *,
    dimensions: int,
    pooling: Pooling,
    max_tokens: int,
    prefix: str,
    typed_prefixes: Mapping[str, str],
) -> tuple[str, ...]:
    """Write everything beside weights, configuration and tokenizer.

    Args:
        directory: Where to; it exists.
        dimensions: Width of the embedding.
        pooling: How tokens become one vector; it is normalised.
        max_tokens: The longest text, special tokens included.
        prefix: What is put before every text; may be empty.
        typed_prefixes: What is put there instead before texts of a type, by its name.

    Returns:
        The files, as paths relative to `directory`.
    """
    kinds = (("", "Transformer"), (_POOLING, "Pooling"), ("2_Normalize", "Normalize"))
    contents: dict[str, object] = {
        f"{_POOLING}/{CONFIG}": {
            "word_embedding_dimension": dimensions,
            "pooling_mode_cls_token": pooling is Pooling.CLS,
            "pooling_mode_mean_tokens": pooling is Pooling.MEAN,
            "pooling_mode_max_tokens": pooling is Pooling.MAX,
        },
        SENTENCE_CONFIG: {"max_seq_length": max_tokens},
        MODULES: [
            {
                "idx": index,
                "name": str(index),
                "path": path,
                "type": f"sentence_transformers.models.{kind}",
            }
            for index, (path, kind) in enumerate(kinds)
        ],
    }
    if prefix or typed_prefixes:
        contents[PROMPTS] = {
            "prompts": {_PROMPT: prefix, **typed_prefixes},
            "default_prompt_name": _PROMPT,
        }
    (directory / _POOLING).mkdir(exist_ok=True)
    for name, value in contents.items():
        (directory / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return tuple(contents)
