from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from services.common.storage import ObjectStore, open_store
from services.trainer import base_sources
from services.trainer.base_sources import (
    SourceError,
    configured,
    describe,
    local_directory,
    obtain,
)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


def test_the_built_in_base_is_there_unless_it_is_switched_off() -> None:
    assert configured({}) == {"small": "package:small"}
    assert configured({"mine": "/models/mine"}) == {
        "small": "package:small",
        "mine": "/models/mine",
    }
    assert configured({"small": ""}) == {}
    assert configured({"small": "/models/other"}) == {"small": "/models/other"}


def test_the_packaged_weights_are_found_without_an_import(
    tmp_path: Path, store: ObjectStore
) -> None:
    directory = obtain("package:small", tmp_path, store)

    assert (directory / "model.safetensors").is_file()
    assert describe("package:small").license == "Apache-2.0"


def test_other_weights_under_the_same_name_are_refused(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(base_sources.PACKAGED["small"], weights_sha256="0" * 64)
    monkeypatch.setitem(base_sources.PACKAGED, "small", other)

    with pytest.raises(SourceError, match="these are not the weights that are pinned"):
        obtain("package:small", tmp_path, store)


def test_a_directory_is_taken_as_it_is(tmp_path: Path, store: ObjectStore) -> None:
    assert obtain(str(tmp_path), tmp_path / "scratch", store) == tmp_path
    assert describe(str(tmp_path / "my-base")).display_name == "my-base"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/no/such/directory", "no such directory"),
        ("package:huge", "the built-in bases are small"),
        ("hub:sentence-transformers/all-mpnet-base-v2", "with the commit to take"),
        ("hub:../../etc@main", "with the commit to take"),
        ("prepared:huge", "can be prepared are fast, multilingual, large"),
        ("store:bases/none", "has no model.safetensors"),
    ],
)
def test_a_source_that_cannot_be_had_says_what_to_do(
    source: str, message: str, tmp_path: Path, store: ObjectStore
) -> None:
    with pytest.raises(SourceError, match=message):
        obtain(source, tmp_path, store)


def test_weights_that_are_pinned_are_verified_wherever_they_come_from(
    tmp_path: Path, store: ObjectStore
) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()

    assert obtain(f"{tmp_path}#sha256={digest}", tmp_path / "scratch", store) == tmp_path
    assert local_directory(f"{tmp_path}#sha256={digest}") == tmp_path
    with pytest.raises(SourceError, match=f"has sha256 {digest}, expected {'0' * 64}"):
        obtain(f"{tmp_path}#sha256={'0' * 64}", tmp_path / "scratch", store)


def test_a_directory_in_the_object_store_is_copied_here(tmp_path: Path, store: ObjectStore) -> None:
    store.put("bases/mine/model.safetensors", b"weights")
    store.put("bases/mine/1_Pooling/config.json", b"{}")
    store.put("bases/mine-too/config.json", b"not this one")

    directory = obtain("store:bases/mine/", tmp_path / "scratch", store)

    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert found == {"model.safetensors", "1_Pooling/config.json"}
    assert (directory / "model.safetensors").read_bytes() == b"weights"
    assert local_directory("store:bases/mine/") is None


def test_a_prepared_directory_tells_where_it_came_from(tmp_path: Path) -> None:
    origin = describe("prepared:fast")
    (tmp_path / "origin.json").write_text(json.dumps(dataclasses.asdict(origin)))

    assert origin.display_name == "paraphrase-MiniLM-L3-v2"
    assert describe(str(tmp_path)) == origin


def test_a_hub_that_cannot_be_reached_is_one_clear_error(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(SourceError, match="give the directory as the source"):
        obtain("hub:some/model@main", tmp_path, store)
