from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.trainer.base_import import Pooling, UnsupportedBase, read_base
from services.trainer.tokenize import Tokenizer
from tests.tiny_base import HIDDEN, LAYERS, VOCABULARY, write_tiny_base


def _rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_reads_what_the_directory_says(tmp_path: Path) -> None:
    base = read_base(write_tiny_base(tmp_path, max_tokens=48))

    assert (base.architecture, base.dimensions, base.layers) == ("bert", HIDDEN, LAYERS)
    assert base.vocabulary_size == len(VOCABULARY)
    assert base.max_tokens == 48
    assert base.pooling is Pooling.MEAN
    assert base.pad_token_id == 0
    # 186 words, 512 positions and 2 types of width 32, their norm, two layers, the pooler.
    attention, feed_forward, norms = 4 * (32 * 32 + 32), 2 * 32 * 64 + 64 + 32, 4 * 32
    assert base.parameters == (
        (186 + 512 + 2) * 32 + 64 + 2 * (attention + feed_forward + norms) + 32 * 32 + 32
    )


def test_names_every_file_that_it_needs(tmp_path: Path) -> None:
    base = read_base(write_tiny_base(tmp_path / "base"))
    copy = tmp_path / "copy"
    for name in base.files:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((base.directory / name).read_bytes())

    again = read_base(copy)

    assert again.files == base.files
    assert (again.pooling, again.max_tokens) == (base.pooling, base.max_tokens)


def test_never_takes_more_than_512_tokens(tmp_path: Path) -> None:
    directory = write_tiny_base(tmp_path, max_tokens=8192)
    _rewrite(directory / "config.json", max_position_embeddings=8192)

    assert read_base(directory).max_tokens == 512


def test_leaves_out_the_positions_that_roberta_never_uses(tmp_path: Path) -> None:
    directory = write_tiny_base(tmp_path, max_tokens=514)
    _rewrite(directory / "config.json", model_type="roberta", max_position_embeddings=130)

    assert read_base(directory).max_tokens == 128


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True}, Pooling.CLS),
        ({"pooling_mode_max_tokens": True}, Pooling.MAX),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, Pooling.MEAN),
        ({"pooling_mode": "cls"}, Pooling.CLS),
        ({"pooling_mode": "max"}, Pooling.MAX),
    ],
)
def test_takes_the_pooling_that_the_base_was_trained_with(
    tmp_path: Path, config: dict[str, object], pooling: Pooling
) -> None:
    directory = write_tiny_base(tmp_path)
    _rewrite(directory / "1_Pooling" / "config.json", pooling_mode_mean_tokens=False, **config)

    assert read_base(directory).pooling is pooling


def test_takes_the_prompt_that_the_base_uses_by_default(tmp_path: Path) -> None:
    directory = write_tiny_base(tmp_path)
    prompts = {"query": "query: ", "passage": "passage: "}
    path = directory / "config_sentence_transformers.json"

    path.write_text(json.dumps({"prompts": prompts, "default_prompt_name": "query"}))
    asked = read_base(directory)
    path.write_text(json.dumps({"prompts": prompts, "default_prompt_name": None}))
    plain = read_base(directory)

    assert (asked.prefix, plain.prefix) == ("query: ", "")
    assert path.name in asked.files
    with_prefix, without = (Tokenizer.load(base) for base in (asked, plain))
    assert with_prefix.encode(["late"]) == without.encode(["query: late"])


def test_takes_the_prompts_of_types_that_it_can_put_before_a_text(tmp_path: Path) -> None:
    directory = write_tiny_base(tmp_path)
    prompts = {
        "passage": "passage: ",
        "query": "Find:",
        "clustering": "",
        "classification": None,
        "document": "document: ",
        "summarization": "sum: ",
    }
    (directory / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))

    assert read_base(directory).typed_prefixes == {"document": "document: ", "clustering": ""}


def test_takes_the_lengths_to_which_a_base_may_be_cut(tmp_path: Path) -> None:
    directory = write_tiny_base(tmp_path)
    path = directory / "config.json"
    plain = json.loads(path.read_text())

    assert read_base(directory).matryoshka_dimensions == ()
    path.write_text(json.dumps({**plain, "matryoshka_dimensions": [16, 8, "x", -1]}))
    assert read_base(directory).matryoshka_dimensions == (8, 16)


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        ({"prompts": {}, "default_prompt_name": "query"}, "has no such prompt"),
        ({"prompts": {"q": "query:"}, "default_prompt_name": "q"}, "without white space"),
    ],
)
def test_refuses_prompts_that_it_cannot_use(
    tmp_path: Path, config: dict[str, object], hint: str
) -> None:
    directory = write_tiny_base(tmp_path)
    (directory / "config_sentence_transformers.json").write_text(json.dumps(config))

    with pytest.raises(UnsupportedBase, match=hint):
        read_base(directory)


def test_a_plain_transformer_is_pooled_by_its_mean(tmp_path: Path) -> None:
    directory = write_tiny_base(tmp_path)
    (directory / "modules.json").unlink()

    base = read_base(directory)

    assert base.pooling is Pooling.MEAN
    assert "modules.json" not in base.files


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("config.json", "a base is a directory with"),
        ("model.safetensors", "safetensors weights in one file"),
        ("tokenizer.json", "fast tokenizer"),
        ("1_Pooling/config.json", "is missing"),
    ],
)
def test_names_the_file_that_is_missing(tmp_path: Path, file: str, hint: str) -> None:
    directory = write_tiny_base(tmp_path)
    (directory / file).unlink()

    with pytest.raises(UnsupportedBase, match=hint) as raised:
        read_base(directory)

    assert file in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"model_type": "t5"}, "'t5'; these can be trained"),
        ({"auto_map": {"AutoModel": "code.Model"}}, "never executed"),
        ({"hidden_size": None}, "no number hidden_size"),
    ],
)
def test_refuses_encoders_that_it_cannot_train(
    tmp_path: Path, changes: dict[str, object], hint: str
) -> None:
    directory = write_tiny_base(tmp_path)
    _rewrite(directory / "config.json", **changes)

    with pytest.raises(UnsupportedBase, match=hint):
        read_base(directory)


def test_refuses_modules_after_the_pooling(tmp_path: Path) -> None:
    directory = write_tiny_base(tmp_path)
    modules = json.loads((directory / "modules.json").read_text())
    dense = {"idx": 3, "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    (directory / "modules.json").write_text(json.dumps([*modules, dense]))

    with pytest.raises(UnsupportedBase, match="Dense"):
        read_base(directory)


def test_refuses_a_pooling_that_it_does_not_know(tmp_path: Path) -> None:
    directory = write_tiny_base(tmp_path)
    _rewrite(directory / "1_Pooling" / "config.json", pooling_mode_lasttoken=True)

    with pytest.raises(UnsupportedBase, match="mean_tokens, lasttoken"):
        read_base(directory)


@pytest.mark.parametrize(
    "content", [b"", b"garbage that is longer than a length", b"\x02" + bytes(7)]
)
def test_refuses_weights_that_are_damaged(tmp_path: Path, content: bytes) -> None:
    directory = write_tiny_base(tmp_path)
    (directory / "model.safetensors").write_bytes(content)

    with pytest.raises(UnsupportedBase, match="no safetensors file"):
        read_base(directory)


def test_refuses_damaged_json(tmp_path: Path) -> None:
    directory = write_tiny_base(tmp_path)
    (directory / "config.json").write_text("{")

    with pytest.raises(UnsupportedBase, match="no JSON"):
        read_base(directory)
