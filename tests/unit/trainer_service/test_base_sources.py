from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from services.trainer import base_sources
from services.trainer.base_sources import SourceError, configured, describe, obtain


def test_the_built_in_base_is_there_unless_it_is_switched_off() -> None:
    assert configured({}) == {"small": "package:small"}
    assert configured({"mine": "/models/mine"}) == {
        "small": "package:small",
        "mine": "/models/mine",
    }
    assert configured({"small": ""}) == {}
    assert configured({"small": "/models/other"}) == {"small": "/models/other"}


def test_the_packaged_weights_are_found_without_an_import(tmp_path: Path) -> None:
    directory = obtain("package:small", tmp_path)

    assert (directory / "model.safetensors").is_file()
    assert describe("package:small").license == "Apache-2.0"


def test_other_weights_under_the_same_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(base_sources.PACKAGED["small"], weights_sha256="0" * 64)
    monkeypatch.setitem(base_sources.PACKAGED, "small", other)

    with pytest.raises(SourceError, match="these are not the weights of all-MiniLM-L6-v2"):
        obtain("package:small", tmp_path)


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    assert obtain(str(tmp_path), tmp_path / "scratch") == tmp_path
    assert describe(str(tmp_path / "my-base")).display_name == "my-base"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/no/such/directory", "no such directory"),
        ("package:huge", "the built-in bases are small"),
        ("hub:sentence-transformers/all-mpnet-base-v2", "with the commit to take"),
        ("hub:../../etc@main", "with the commit to take"),
    ],
)
def test_a_source_that_cannot_be_had_says_what_to_do(
    source: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=message):
        obtain(source, tmp_path)


def test_a_hub_that_cannot_be_reached_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(SourceError, match="give the directory as the source"):
        obtain("hub:some/model@main", tmp_path)
