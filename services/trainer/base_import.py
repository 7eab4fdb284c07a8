"""Reading a base encoder from a directory, as sentence-transformers or Hugging Face write it.

Only JSON and the safetensors header are read here: nothing is executed, no torch is needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

TOKEN_LIMIT = 512
"""The most tokens of one text, special tokens included, whatever a base would allow."""

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
MATRYOSHKA = "matryoshka_dimensions"
"""In the configuration: to which numbers embeddings may be cut."""

MODULES = "modules.json"
SENTENCE_CONFIG = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_SPECIAL_TOKENS = "special_tokens_map.json"

_TYPED_PROMPTS = {
    "query": "query",
    "document": "document",
    "passage": "document",
    "classification": "classification",
    "clustering": "clustering",
}
"""What sentence-transformers calls the prompts of each type; of several the first one counts."""

_HEADER_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
# The limit of the safetensors library itself.

_POSITION_OFFSETS = {"roberta": 2, "xlm-roberta": 2, "mpnet": 2, "camembert": 2}
# These families count positions from pad_token_id + 1: two of the table are never used.

ARCHITECTURES = (
    "bert",
    "distilbert",
    "mpnet",
    "roberta",
    "xlm-roberta",
    "camembert",
    "electra",
    "modernbert",
)
"""`model_type`s whose only inputs are ids and mask and whose first output is one vector a token."""


class UnsupportedBase(ValueError):
    """The directory is no base that can be used; the message says what to do."""


class Pooling(StrEnum):
    """How the vectors of the tokens become the vector of the text."""

    MEAN = "mean"
    """The mean over all tokens that are not padding."""

    CLS = "cls"
    """The vector of the first token."""

    MAX = "max"
    """Of each number the greatest over all tokens that are not padding."""


_POOLINGS = {
    "mean": Pooling.MEAN,
    "mean_tokens": Pooling.MEAN,
    # The mean times the root of the length: once it has length 1, the same.
    "mean_sqrt_len_tokens": Pooling.MEAN,
    "cls": Pooling.CLS,
    "cls_token": Pooling.CLS,
    "max": Pooling.MAX,
    "max_tokens": Pooling.MAX,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseEncoder:
    """What has to be known of an encoder before its weights are loaded."""

    directory: Path
    architecture: str
    """`model_type` of its config, such as `bert`."""

    dimensions: int
    """Width of the embedding."""

    layers: int
    vocabulary_size: int
    parameters: int
    """Numbers in the weights file."""

    max_tokens: int
    """The longest text it takes, special tokens included; at most `TOKEN_LIMIT`."""

    pooling: Pooling
    prefix: str
    """What it wants before every text, such as `query: `; mostly nothing."""

    pad_token_id: int
    files: tuple[str, ...]
    """What makes up the base, as paths relative to `directory`."""

    typed_prefixes: Mapping[str, str] = field(default_factory=dict)
    """What it wants there instead of `prefix` before texts of a type, by the names of
    `isogloss.v1.InputType` in lower case."""

    matryoshka_dimensions: tuple[int, ...] = ()
    """Lengths to which its embedding may be cut, as it declares."""


def read_base(directory: Path) -> BaseEncoder:
    """Read what a directory holds.

    A directory without `modules.json` is a plain transformer: mean pooling is assumed. One
    without a Normalize module is normalised all the same, which changes no cosine.

    Raises:
        UnsupportedBase: Where a file is missing or damaged, or the encoder is of a kind that
            cannot be trained or exported.
    """
    config = _object(directory, CONFIG)
    if not (directory / WEIGHTS).is_file():
        raise UnsupportedBase(
            f"{directory / WEIGHTS} is missing: only safetensors weights in one file are read. "
            "Convert the model, for example with transformers' save_pretrained."
        )
    if not (directory / TOKENIZER).is_file():
        raise UnsupportedBase(
            f"{directory / TOKENIZER} is missing: save the model's fast tokenizer beside it."
        )
    architecture = str(config.get("model_type", ""))
    if architecture not in ARCHITECTURES:
        raise UnsupportedBase(
            f"{directory / CONFIG} names the model type {architecture!r}; "
            f"these can be trained and exported: {', '.join(ARCHITECTURES)}."
        )
    if "auto_map" in config:
        raise UnsupportedBase(
            f"{directory / CONFIG} needs code of its own (auto_map), which is never executed: "
            "choose a base without it."
        )
    pooling, pooling_file = _pooling(directory)
    files = [CONFIG, WEIGHTS, TOKENIZER, *pooling_file]
    optional = (MODULES, SENTENCE_CONFIG, PROMPTS, _TOKENIZER_CONFIG, _SPECIAL_TOKENS)
    files += [name for name in optional if (directory / name).is_file()]
    return BaseEncoder(
        directory=directory,
        architecture=architecture,
        dimensions=_number(config, directory, "hidden_size", "dim"),
        layers=_number(config, directory, "num_hidden_layers", "n_layers"),
        vocabulary_size=_number(config, directory, "vocab_size"),
        parameters=_count_parameters(directory / WEIGHTS),
        max_tokens=_max_tokens(directory, config, architecture),
        pooling=pooling,
        prefix=_prefix(directory),
        pad_token_id=int(config.get("pad_token_id") or 0),
        files=tuple(sorted(files)),
        typed_prefixes=_typed_prefixes(directory),
        matryoshka_dimensions=_matryoshka_dimensions(config),
    )


def _pooling(directory: Path) -> tuple[Pooling, list[str]]:
    """Return the pooling and the file that says so, if one does."""
    if not (directory / MODULES).is_file():
        return Pooling.MEAN, []
    modules = _read(directory, MODULES)
    kinds = {str(module["type"]).rsplit(".", 1)[-1]: module["path"] for module in modules}
    unknown = kinds.keys() - {"Transformer", "Pooling", "Normalize"}
    if unknown or "Pooling" not in kinds:
        raise UnsupportedBase(
            f"{directory / MODULES} lists {', '.join(kinds)}: a base is a Transformer, a Pooling "
            "and, if it likes, a Normalize."
        )
    name = f"{kinds['Pooling']}/config.json"
    config = _object(directory, name)
    chosen = config.get("pooling_mode") or [
        key.removeprefix("pooling_mode_")
        for key, value in config.items()
        if key.startswith("pooling_mode_") and value
    ]
    modes = [chosen] if isinstance(chosen, str) else list(chosen)
    if len(modes) == 1 and modes[0] in _POOLINGS:
        return _POOLINGS[modes[0]], [name]
    raise UnsupportedBase(
        f"{directory / name} asks for the pooling {', '.join(modes) or 'of nothing'}: "
        f"one of these is supported: {', '.join(_POOLINGS)}."
    )


def _prefix(directory: Path) -> str:
    """Return the prompt that the base uses unless it is told otherwise."""
    config = _prompts(directory)
    chosen = config.get("default_prompt_name")
    if chosen is None:
        return ""
    prompts = config.get("prompts")
    if not isinstance(prompts, dict) or not isinstance(prompts.get(chosen), str):
        raise UnsupportedBase(
            f"{directory / PROMPTS} names the default prompt {chosen!r}, but has no such prompt."
        )
    prefix = str(prompts[chosen])
    if not _parted(prefix):
        raise UnsupportedBase(
            f"{directory / PROMPTS} has the default prompt {prefix!r}, which joins the text "
            "without white space: only prompts that end in some are supported."
        )
    return prefix


def _typed_prefixes(directory: Path) -> dict[str, str]:
    """Return the prompts of types that callers may name, as far as texts can stand behind them."""
    prompts = _prompts(directory).get("prompts")
    if not isinstance(prompts, dict):
        return {}
    found: dict[str, str] = {}
    for name, input_type in _TYPED_PROMPTS.items():
        prompt = prompts.get(name)
        if isinstance(prompt, str) and _parted(prompt):
            found.setdefault(input_type, prompt)
    return found


def _parted(prompt: str) -> bool:
    # Otherwise its last tokens would depend on the text behind it, and a long text could not be
    # cut without a change of the prompt.
    return not prompt or prompt[-1].isspace()


def _prompts(directory: Path) -> dict[str, Any]:
    return _object(directory, PROMPTS) if (directory / PROMPTS).is_file() else {}


def _matryoshka_dimensions(config: dict[str, Any]) -> tuple[int, ...]:
    declared = config.get(MATRYOSHKA)
    lengths = declared if isinstance(declared, list) else []
    return tuple(sorted(number for number in lengths if isinstance(number, int) and number > 0))


def _max_tokens(directory: Path, config: dict[str, Any], architecture: str) -> int:
    limits = [TOKEN_LIMIT]
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int):
        limits.append(positions - _POSITION_OFFSETS.get(architecture, 0))
    for name, key in (
        (SENTENCE_CONFIG, "max_seq_length"),
        (_TOKENIZER_CONFIG, "model_max_length"),
    ):
        if (directory / name).is_file():
            declared = _object(directory, name).get(key)
            # Tokenizers without a limit declare 1e30.
            if isinstance(declared, int) and declared > 0:
                limits.append(declared)
    return min(limits)


def _count_parameters(path: Path) -> int:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
        if not 0 < length <= _MAX_HEADER_BYTES:
            raise UnsupportedBase(f"{path} is no safetensors file: fetch it again.")
        try:
            header = json.loads(file.read(length))
            return sum(
                math.prod(tensor["shape"])
                for name, tensor in header.items()
                if name != "__metadata__"
            )
        except (ValueError, TypeError, KeyError) as error:
            raise UnsupportedBase(f"{path} is no safetensors file: fetch it again.") from error


def _number(config: dict[str, Any], directory: Path, *keys: str) -> int:
    for key in keys:
        if isinstance(config.get(key), int):
            return int(config[key])
    raise UnsupportedBase(f"{directory / CONFIG} has no number {' or '.join(keys)}.")


def _object(directory: Path, name: str) -> dict[str, Any]:
    value = _read(directory, name)
    if not isinstance(value, dict):
        raise UnsupportedBase(f"{directory / name} holds no JSON object.")
    return value


def _read(directory: Path, name: str) -> Any:  # noqa: ANN401 (JSON is anything)
    try:
        return json.loads((directory / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnsupportedBase(
            f"{directory / name} is missing: a base is a directory with {CONFIG}, {WEIGHTS} "
            f"and {TOKENIZER}."
        ) from error
    except ValueError as error:
        raise UnsupportedBase(f"{directory / name} is no JSON: {error}") from error
