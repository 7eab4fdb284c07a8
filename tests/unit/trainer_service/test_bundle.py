from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1.cleaning_pb2 import Cleaning
from services.common import layout
from services.common.errors import DataLoss, FailedPrecondition
from services.common.storage import ObjectStore, open_store
from services.trainer.registry.bundle import Place, pack
from tests.tiny_model import (
    DIMENSION,
    LABELS,
    MAX_TOKENS,
    store_file,
    tiny_tokenizer,
    tiny_weights,
)
from tests.whole_model import NEIGHBOUR_TEXT, TEXT, publish_whole_model

PLACE = Place(tenant="default", model="tone", attempt=1, token=1)

USE_LOADER = """
import json, sys
from loader import Model
model = Model(".")
texts = json.loads(sys.stdin.read())
print(json.dumps([model.embed(texts).tolist(), model.classify(texts)]))
"""


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def manifest(store: ObjectStore, tmp_path: Path) -> ModelManifest:
    return publish_whole_model(store, tmp_path, "tone")


def packed(store: ObjectStore, manifest: ModelManifest, *, texts: bool = False) -> bytes:
    archive = pack(store, manifest, PLACE, texts=texts)
    chunks = list(archive.chunks())
    assert all(0 < len(chunk) <= 1 << 20 for chunk in chunks)
    content = b"".join(chunks)
    assert len(content) == archive.size_bytes
    return content


def unpacked(content: bytes, directory: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        archive.extractall(directory, filter="data")
    return directory


def test_a_bundle_holds_everything_under_plain_names(
    store: ObjectStore, manifest: ModelManifest, tmp_path: Path
) -> None:
    root = unpacked(packed(store, manifest), tmp_path / "out")

    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert {"bundle.json", "model.json", "loader.py", "model.onnx", "evaluation.json"} <= names
    assert {"encoder/modules.json", "encoder/model.safetensors", "tokenizer.json"} <= names
    index = json.loads((root / "bundle.json").read_text())
    assert {entry["path"] for entry in index["files"]} == names - {"bundle.json"}
    for entry in index["files"]:
        content = (root / entry["path"]).read_bytes()
        assert int(entry["size"]) == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    about = json.loads((root / "model.json").read_text())
    assert about["variants"][0]["graph"]["key"] == "model.onnx"
    assert about["labels"] == list(LABELS)


def test_the_same_model_gives_the_same_bytes(store: ObjectStore, manifest: ModelManifest) -> None:
    before = ModelManifest()
    before.CopyFrom(manifest)

    assert packed(store, manifest) == packed(store, manifest)
    assert manifest == before


def test_many_labels_take_several_messages(store: ObjectStore, manifest: ModelManifest) -> None:
    manifest.labels.extend(f"{number:0100d}" for number in range(20_000))

    assert f"{19_999:0100d}".encode() in packed(store, manifest)


def test_texts_come_along_only_where_they_are_asked_for(
    store: ObjectStore, manifest: ModelManifest
) -> None:
    without, with_texts = packed(store, manifest), packed(store, manifest, texts=True)

    assert TEXT.encode() not in without
    assert NEIGHBOUR_TEXT.encode() not in without
    assert b"neighbours.safetensors" in without
    assert b"examples" not in without.replace(b"include_examples", b"")
    assert TEXT.encode() in with_texts
    assert NEIGHBOUR_TEXT.encode() in with_texts


def test_a_model_from_before_there_were_neighbours_has_none_in_a_bundle(
    store: ObjectStore, manifest: ModelManifest, tmp_path: Path
) -> None:
    manifest.ClearField("neighbours")

    root = unpacked(packed(store, manifest), tmp_path / "out")

    assert "neighbours" not in json.loads((root / "model.json").read_text())


@pytest.mark.parametrize("purged", ["examples", "neighbours"])
def test_texts_that_were_purged_are_not_silently_left_out(
    store: ObjectStore, manifest: ModelManifest, purged: str
) -> None:
    texts = {"examples": manifest.examples, "neighbours": manifest.neighbours.texts}
    store.delete(texts[purged].key)

    packed(store, manifest)
    with pytest.raises(FailedPrecondition, match="without include_examples"):
        packed(store, manifest, texts=True)


def test_a_damaged_file_ends_the_export(store: ObjectStore, manifest: ModelManifest) -> None:
    store.put(manifest.variants[0].graph.key, b"other bytes")

    with pytest.raises(DataLoss):
        packed(store, manifest)


def test_what_is_another_tenants_is_never_packed(
    store: ObjectStore, manifest: ModelManifest
) -> None:
    secret = layout.attempt_prefix("rival", "secret", 1, 1) + "evaluation.json"
    manifest.evaluation.CopyFrom(store_file(store, secret, b"{}"))

    with pytest.raises(DataLoss, match="not its own"):
        packed(store, manifest)


def test_the_loader_computes_what_the_model_is(
    store: ObjectStore, manifest: ModelManifest, tmp_path: Path
) -> None:
    root = unpacked(packed(store, manifest), tmp_path / "out")
    texts = ["my order is late", "great", " ".join(["terrible service"] * 30)]

    done = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; sys.path.insert(0, '.')" + USE_LOADER],
        cwd=root,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    vectors, classified = json.loads(done.stdout)

    tokenizer, weights = tiny_tokenizer(), tiny_weights(labels=len(LABELS))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    for text, vector, answer in zip(texts, vectors, classified, strict=True):
        total = weights["vectors"][tokenizer.encode(text).ids].astype(np.float64).sum(axis=0)
        expected = total / np.linalg.norm(total)
        logits = expected @ weights["head"]
        shares = np.exp(logits - logits.max())
        assert len(vector) == DIMENSION
        np.testing.assert_allclose(vector, expected, atol=1e-5)
        assert list(answer) == list(LABELS)
        np.testing.assert_allclose(list(answer.values()), shares / shares.sum(), atol=1e-4)


def test_the_loader_warns_of_cleaning_that_it_does_not_do(
    store: ObjectStore, tmp_path: Path
) -> None:
    manifest = publish_whole_model(store, tmp_path, "clean", cleaning=Cleaning(strip_html=True))
    place = Place(tenant="default", model="clean", attempt=1, token=1)
    content = b"".join(pack(store, manifest, place, texts=False).chunks())
    root = unpacked(content, tmp_path / "out")

    done = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; sys.path.insert(0, '.')" + USE_LOADER],
        cwd=root,
        input='["great"]',
        capture_output=True,
        text=True,
        check=True,
    )

    assert "strip_html" in done.stderr


def test_the_loader_is_thirty_lines() -> None:
    source = (Path(__file__).parents[3] / "services/trainer/registry/loader.py").read_text()
    code = source.partition("class Model:")[2]
    lines = [line for line in code.splitlines() if line.strip() and '"""' not in line]

    assert len(lines) <= 30
    assert "isogloss" not in code
