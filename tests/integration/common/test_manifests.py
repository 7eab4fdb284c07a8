from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.storage.v1.stored_file_pb2 import StoredFile
from services.common.errors import DataLoss, NotFound
from services.common.manifests import (
    FORMAT_VERSION,
    create_manifest,
    fetch,
    read_manifest,
    upload,
)
from services.common.storage import ObjectStore, open_store, read_all

KEY = "t/models/m/model.json"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


def manifest(name: str = "models/m") -> ModelManifest:
    return ModelManifest(format_version=FORMAT_VERSION, name=name, labels=["grün"])


def test_manifest_comes_back(store: ObjectStore) -> None:
    assert create_manifest(store, KEY, manifest())

    assert read_manifest(store, KEY, ModelManifest) == manifest()
    content = json.loads(read_all(store, KEY, limit=10_000))
    assert content["format_version"] == 1
    assert content["labels"] == ["grün"]


def test_first_manifest_stays(store: ObjectStore) -> None:
    assert create_manifest(store, KEY, manifest("models/first"))

    assert not create_manifest(store, KEY, manifest("models/second"))

    assert read_manifest(store, KEY, ModelManifest).name == "models/first"


def test_manifest_without_a_format_is_not_written(store: ObjectStore) -> None:
    with pytest.raises(ValueError, match="format_version"):
        create_manifest(store, KEY, ModelManifest(name="models/m"))


def test_absent_manifest(store: ObjectStore) -> None:
    with pytest.raises(NotFound):
        read_manifest(store, KEY, ModelManifest)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"format_version": 2}', b"{}", b'{"format_version": "x"}', b"\xff\xfe",
     b'{"format_version": 1, "labels": 7}', b"null"],
)  # fmt: skip
def test_broken_manifest_is_data_loss(store: ObjectStore, content: bytes) -> None:
    store.put(KEY, content)

    with pytest.raises(DataLoss, match=r"model\.json"):
        read_manifest(store, KEY, ModelManifest)


def test_later_release_may_add_fields(store: ObjectStore) -> None:
    store.put(KEY, b'{"format_version": 1, "name": "models/m", "added_later": {"x": 1}}')

    assert read_manifest(store, KEY, ModelManifest).name == "models/m"


def test_file_comes_back(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 10_000)

    stored = upload(store, "t/a", source)
    fetch(store, stored, tmp_path / "deep" / "target")

    assert stored.size == 2_560_000
    assert stored.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (tmp_path / "deep" / "target").read_bytes() == source.read_bytes()
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "target"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sha256": "0" * 64}, "another sha256"),
        ({"sha256": ""}, "another sha256"),
        ({"size": 8}, "has 7 bytes instead of 8"),
        ({"key": "t/other"}, "is missing"),
    ],
)
def test_file_that_is_not_what_the_manifest_says(
    store: ObjectStore, tmp_path: Path, change: dict[str, str], told: str
) -> None:
    (tmp_path / "source").write_bytes(b"content")
    stored = upload(store, "t/a", tmp_path / "source")
    target = tmp_path / "out" / "target"
    target.parent.mkdir()
    target.write_bytes(b"what was there")
    said = StoredFile(key=stored.key, size=stored.size, sha256=stored.sha256)
    said.MergeFrom(StoredFile(**change))  # type: ignore[arg-type]  # one field of several types
    if change == {"sha256": ""}:
        said.sha256 = ""

    with pytest.raises(DataLoss, match=told):
        fetch(store, said, target)

    assert target.read_bytes() == b"what was there"
    assert list(target.parent.iterdir()) == [target]
