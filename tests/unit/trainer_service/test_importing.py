from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from services.common import layout, manifests
from services.common.database import Database
from services.common.errors import AlreadyExists, NotFound, Reason
from services.common.pagination import page_request
from services.common.storage import ObjectInfo, ObjectStore, open_store
from services.common.storage.directory import DirectoryStore
from services.trainer import publishing
from services.trainer.bell import Bell
from services.trainer.control import Control
from services.trainer.models import Models, Request
from services.trainer.registry import tar
from services.trainer.registry.bundle import Place, pack
from services.trainer.registry.importing import Imports, ImportWish
from services.trainer.registry.unpacking import WrongBundle, unpack
from services.trainer.state import State
from services.trainer.tables import MIGRATIONS
from services.trainer.webhooks.addresses import Addresses
from services.trainer.webhooks.outbox import Outbox
from tests.tiny_model import LABELS, tiny_graph
from tests.whole_model import NEIGHBOUR_TEXT, TEXT, publish_whole_model

Change = Callable[[dict[str, bytes]], object]


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'trainer.sqlite'}")
    database.upgrade(MIGRATIONS)
    return database


@pytest.fixture
def imports(database: Database, store: ObjectStore) -> Imports:
    return Imports(database, store, Bell())


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, bytes]:
    """A model of another installation as bundles, without and with its texts."""
    folder = tmp_path_factory.mktemp("other")
    other = open_store(str(folder / "store"))
    manifest = publish_whole_model(other, folder, "tone")
    place = Place(tenant="default", model="tone", attempt=1, token=1)
    return {
        texts: b"".join(pack(other, manifest, place, texts=texts).chunks())
        for texts in (False, True)
    }


@pytest.fixture
def bundle(bundles: dict[bool, bytes], tmp_path: Path) -> Path:
    return incoming(bundles[False], tmp_path)


def incoming(content: bytes, tmp_path: Path) -> Path:
    directory = tmp_path / "incoming"
    directory.mkdir()
    path = directory / "bundle.tar"
    path.write_bytes(content)
    return path


def changed(path: Path, change: Change, *, indexed: bool = True) -> None:
    """Let a bundle hold other files; `indexed` lets its index say so."""
    with tarfile.open(path, "r:") as archive:
        files = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr] # all are files
            for member in archive
        }
    change(files)
    if indexed and "bundle.json" in files:
        index = json.loads(files["bundle.json"])
        index["files"] = [
            {
                "path": name,
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in files.items()
            if name != "bundle.json"
        ]
        files["bundle.json"] = json.dumps(index).encode()
    path.write_bytes(
        b"".join(
            tar.header(name, len(content)) + content + tar.padding(len(content))
            for name, content in files.items()
        )
        + tar.END
    )


def edited(change: Callable[[Any], object], name: str = "model.json") -> Change:
    """Change a JSON file of a bundle."""

    def apply(files: dict[str, bytes]) -> None:
        document = json.loads(files[name])
        change(document)
        files[name] = json.dumps(document).encode()

    return apply


def graph(content: bytes) -> Change:
    """Put another graph in, which the manifest names rightly."""

    def apply(files: dict[str, bytes]) -> None:
        files["model.onnx"] = content
        manifest = json.loads(files["model.json"])
        manifest["variants"][0]["graph"] |= {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        files["model.json"] = json.dumps(manifest).encode()

    return apply


def named(name: str, content: bytes) -> Change:
    """Put other bytes in the place of a file, which the manifest names rightly."""

    def apply(files: dict[str, bytes]) -> None:
        files[name] = content
        manifest = json.loads(files["model.json"])
        manifest[name.partition(".")[0]] |= {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        files["model.json"] = json.dumps(manifest).encode()

    return apply


def other_rows(content: bytes) -> Change:
    """Put other bytes in the place of the training rows, which the manifest names rightly."""

    def apply(files: dict[str, bytes]) -> None:
        files["neighbours.safetensors"] = content
        manifest = json.loads(files["model.json"])
        digest = hashlib.sha256(content).hexdigest()
        manifest["neighbours"]["vectors"] |= {"size": len(content), "sha256": digest}
        files["model.json"] = json.dumps(manifest).encode()

    return apply


def moved(path: str, to: str) -> Change:
    """Let a file have another place, by the manifest too."""

    def apply(files: dict[str, bytes]) -> None:
        files[to] = files.pop(path)
        files["model.json"] = files["model.json"].replace(f'"{path}"'.encode(), f'"{to}"'.encode())

    return apply


def wide(files: dict[str, bytes]) -> None:
    """Say that embeddings are longer than they are; no training rows show that they are not."""
    files.pop("neighbours.safetensors")
    manifest = json.loads(files["model.json"])
    manifest.pop("neighbours")
    files["model.json"] = json.dumps(manifest | {"dimension": 17}).encode()


def loader_as_card(files: dict[str, bytes]) -> None:
    """Let the loader be a file of the model."""
    content, manifest = files["loader.py"], json.loads(files["model.json"])
    manifest["model_card"] = {
        "key": "loader.py",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    files["model.json"] = json.dumps(manifest).encode()


def wish(display_name: str = "") -> ImportWish:
    return ImportWish(tenant="acme", display_name=display_name)


def request(request_id: str = "", fingerprint: bytes = b"f") -> Request:
    return Request(actor="anna", request_id=request_id, fingerprint=fingerprint)


def test_a_bundle_becomes_a_model_of_its_own(
    imports: Imports, database: Database, store: ObjectStore, bundle: Path
) -> None:
    row = imports.take(bundle, wish("Their tone"), request())

    manifest = manifests.read_manifest(store, layout.model_manifest("acme", row.id), ModelManifest)
    glimpse = Models(database, Bell()).look("acme", row.id, after=0)
    assert row.id.startswith("their-tone-")
    assert row.phase is State.READY
    assert (row.base_model, row.dataset, row.label_count) == ("small", "tone-aaaaaa", 3)
    assert row.hyperparameters == {"epochs": 3}
    assert [event.actor for event in glimpse.events] == ["anna"]
    assert "models/tone" in glimpse.row.state_reason
    assert manifest.name == f"models/{row.id}"
    assert manifest.display_name == "Their tone"
    assert manifest.lineage.imported_from == "models/tone"
    assert manifest.lineage.dataset == "datasets/tone-aaaaaa"
    assert not manifest.HasField("examples")
    for file in (manifest.input.tokenizer, manifest.variants[0].graph, manifest.encoder[0].file):
        assert file.key.startswith(f"acme/models/{row.id}/runs/")
        content = b"".join(store.get(file.key))
        assert hashlib.sha256(content).hexdigest() == file.sha256
    again = pack(
        store,
        manifest,
        Place(tenant="acme", model=row.id, attempt=manifest.attempt, token=manifest.token),
        texts=False,
    )
    assert b"models/tone" in b"".join(again.chunks())


def test_texts_are_where_a_purge_of_their_dataset_finds_them(
    imports: Imports, store: ObjectStore, bundles: dict[bool, bytes], tmp_path: Path
) -> None:
    store.put(layout.dataset_manifest("acme", "tone-aaaaaa"), b"{}")

    row = imports.take(incoming(bundles[True], tmp_path), wish(), request())

    copied = store.list(layout.model_examples_prefix("acme", row.id))
    found = b"".join(chunk for item in copied for chunk in store.get(item.key))
    assert TEXT.encode() in found
    assert NEIGHBOUR_TEXT.encode() in found
    assert store.stat(layout.dataset_use("acme", "tone-aaaaaa", row.id)) is not None


def test_texts_whose_dataset_is_purged_meanwhile_go_with_it(
    database: Database, bundles: dict[bool, bytes], tmp_path: Path
) -> None:
    class Purging(DirectoryStore):
        """Loses the dataset just before the mark is there."""

        def put(self, key: str, data: bytes | Iterable[bytes]) -> ObjectInfo:
            if "/uses/" in key:
                self.delete(layout.dataset_manifest("acme", "tone-aaaaaa"))
            return super().put(key, data)

    store = Purging(tmp_path / "store")
    store.put(layout.dataset_manifest("acme", "tone-aaaaaa"), b"{}")

    row = Imports(database, store, Bell()).take(
        incoming(bundles[True], tmp_path), wish(), request()
    )

    assert row.phase is State.READY
    assert list(store.list(layout.model_examples_prefix("acme", row.id))) == []


def test_the_same_request_makes_one_model(
    imports: Imports, database: Database, bundle: Path
) -> None:

    first = imports.take(bundle, wish(), request("r-1"))
    again = imports.take(bundle, wish(), request("r-1"))
    other = imports.take(bundle, wish(), request("r-2"))
    with pytest.raises(AlreadyExists):
        imports.take(bundle, wish(), request("r-1", b"another bundle"))

    page = page_request(page_size=0, page_token="", scope=())
    listed = Models(database, Bell()).list("acme", page, lambda _: 0).items
    assert again.id == first.id
    assert {row.id for row in listed} == {first.id, other.id}


def test_a_repeated_request_does_not_revive_what_was_deleted(
    imports: Imports, database: Database, store: ObjectStore, bundle: Path
) -> None:
    first = imports.take(bundle, wish(), request("r-1"))
    Control(database, Bell(), addresses=Addresses(), outbox=Outbox()).forget("acme", first.id)
    publishing.remove(store, first)

    with pytest.raises(NotFound):
        imports.take(bundle, wish(), request("r-1"))

    assert list(store.list(f"acme/models/{first.id}/")) == []


def test_a_request_that_broke_off_goes_on_under_its_name(
    database: Database, store: ObjectStore, bundle: Path
) -> None:
    class Cut(Imports):
        """Ends between the manifest and the row, as a kill would."""

        def _add(self, *_: object) -> None:  # type: ignore[override]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cut(database, store, Bell()).take(bundle, wish(), request("r-1"))
    [left] = [item for item in store.list("acme/models/") if item.key.endswith("/model.json")]

    row = Imports(database, store, Bell()).take(bundle, wish(), request("r-1"))

    assert layout.model_manifest("acme", row.id) == left.key
    manifest = manifests.read_manifest(store, left.key, ModelManifest)
    kept = layout.attempt_prefix("acme", row.id, manifest.attempt, manifest.token)
    runs = [item.key for item in store.list(layout.runs_prefix("acme", row.id))]
    assert runs
    assert all(key.startswith(kept) for key in runs)


BROKEN: dict[str, tuple[Change, str]] = {
    "a file outside": (lambda files: files.update({"../evil.json": b"{}"}), "none that a bundle"),
    "an absolute path": (lambda files: files.update({"/evil.json": b"{}"}), "none that a bundle"),
    "a pickle": (lambda files: files.update({"encoder/model.bin": b"\x80"}), "pickles"),
    "a script": (lambda files: files.update({"encoder/setup.py": b""}), "not taken"),
    "an unknown file": (lambda files: files.update({"notes.md": b"x"}), "does not name"),
    "no index": (lambda files: files.pop("bundle.json"), "holds no bundle.json"),
    "no manifest": (lambda files: files.pop("model.json"), "holds no model.json"),
    "a missing graph": (lambda files: files.pop("model.onnx"), "names 'model.onnx'"),
    "a broken manifest": (lambda files: files.update({"model.json": b"{"}), "cannot be read"),
    "a later format": (edited(lambda d: d.update(format_version=2)), "format 2"),
    "a later bundle": (edited(lambda d: d.update(format_version=9), "bundle.json"), "format 9"),
    "no labels": (edited(lambda d: d.update(labels=[])), "no labels"),
    "a label twice": (edited(lambda d: d.update(labels=["a", "a", "b"])), "label twice"),
    "no label mode": (edited(lambda d: d.pop("label_mode")), "label mode"),
    "another precision": (edited(lambda d: d["variants"][0].update(precision=7)), "EXACT"),
    "a later precision": (edited(lambda d: d["variants"].append({"precision": 7})), "precision"),
    "thresholds": (edited(lambda d: d.update(thresholds=[0.5])), "thresholds"),
    "a strange name": (edited(lambda d: d.update(display_name="a\nb")), "display name"),
    "a strange hash": (
        edited(lambda d: d["lineage"].update(dataset_content_hash="x" * 99)),
        "content hash",
    ),
    "a later preset": (
        edited(lambda d: d["lineage"]["hyperparameters"].update(preset=77)),
        "hyperparameters",
    ),
    "a rate that is none": (
        edited(lambda d: d["lineage"]["hyperparameters"].update(learning_rate="NaN")),
        "hyperparameters",
    ),
    "another positive label": (
        edited(lambda d: d["lineage"].update(positive_label="none")),
        "positive label",
    ),
    "later cleaning": (
        edited(lambda d: d["input"].update(cleaning={"urls": 9})),
        "cleans texts",
    ),
    "rubbish for an evaluation": (named("evaluation.json", b"{"), "evaluation.json cannot"),
    "a huge evaluation": (
        named("evaluation.json", json.dumps({"name": "x" * 4_000_000}).encode()),
        "more than one answer",
    ),
    "its loader": (loader_as_card, "names 'loader.py'"),
    "a speed that is none": (
        edited(lambda d: d["variants"][0].update(speedup="NaN")),
        "no numbers",
    ),
    "rubbish for training rows": (
        other_rows(b"rubbish"),
        "neighbours.safetensors cannot be read as safetensors",
    ),
    "training rows of another length": (
        edited(lambda d: d.update(dimension=17)),
        "neighbours.safetensors has vectors of float16 and shape (3, 16)",
    ),
    "no training rows": (
        edited(lambda d: d["neighbours"].update(rows=0)),
        "neighbours.safetensors has 0 rows",
    ),
    "training rows among the texts": (
        moved("neighbours.safetensors", "examples/neighbours.safetensors"),
        "names 'examples/neighbours.safetensors' below examples/",
    ),
    "no encoder": (
        edited(lambda d: [one.update(path="x") for one in d["encoder"]]),
        "encoder",
    ),
    "a cut that is none": (
        edited(lambda d: d.update(matryoshka_dimensions=[8, 4])),
        "cuts embeddings",
    ),
    "no dimension": (edited(lambda d: d.pop("dimension")), "length"),
    "a bad name": (edited(lambda d: d.update(name="../x")), "name that is none"),
}

UNUSABLE: dict[str, tuple[Change, str]] = {
    "rubbish for predictions": (named("predictions.parquet", b"PAR1"), "cannot be read"),
    "another dimension": (wide, "of shape (2, 16)"),
    "more labels": (edited(lambda d: d.update(labels=["a", "b", "c", "d"])), "logits"),
    "no graph at all": (graph(b"not a graph"), "cannot be opened"),
    "a graph without labels": (graph(tiny_graph(labels=0)), "cannot be opened"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_bundle_is_told(bundle: Path, name: str) -> None:
    change, says = BROKEN[name]
    changed(bundle, change)

    with pytest.raises(WrongBundle) as refused:
        unpack(bundle)

    assert says in refused.value.message
    assert "isogloss models export" in refused.value.message


@pytest.mark.parametrize("name", ["examples.json", "neighbours.json"])
def test_texts_that_no_purge_would_find_are_refused(
    bundles: dict[bool, bytes], tmp_path: Path, name: str
) -> None:
    path = incoming(bundles[True], tmp_path)
    changed(path, moved(f"examples/{name}", name))

    with pytest.raises(WrongBundle, match=f"names '{name}' outside of examples/"):
        unpack(path)


def test_a_text_that_is_shown_many_times_counts_each_time(
    bundles: dict[bool, bytes], tmp_path: Path
) -> None:
    path = incoming(bundles[True], tmp_path)

    def repeat(files: dict[str, bytes]) -> None:
        manifest = json.loads(files["model.json"])
        files["evaluation.json"] = json.dumps({"worst_errors": 2000 * [{"row": 0}]}).encode()
        texts = {"format_version": 1, "scored": {"0": 2000 * "x"}}
        files["examples/examples.json"] = json.dumps(texts).encode()
        for name in ("evaluation", "examples"):
            content = files[manifest[name]["key"]]
            digest = hashlib.sha256(content).hexdigest()
            manifest[name] |= {"size": len(content), "sha256": digest}
        files["model.json"] = json.dumps(manifest).encode()

    changed(path, repeat)

    with pytest.raises(WrongBundle, match="more than one answer"):
        unpack(path)


def test_a_document_that_fills_the_memory_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar"
    size = 64 * 1024 * 1024 + 1
    path.write_bytes(tar.header("encoder/config.json", size))
    with path.open("r+b") as file:
        # Zeros that take no place on the disk.
        file.truncate(2 * size)

    with pytest.raises(WrongBundle, match="are taken at most"):
        unpack(path)


def test_a_document_that_takes_much_memory_to_read_is_refused(bundle: Path) -> None:
    def fill(files: dict[str, bytes]) -> None:
        files["model.json"] = files["model.json"].rstrip()[:-1] + b" " * (16 << 20) + b"}"

    changed(bundle, fill)

    with pytest.raises(WrongBundle, match=r"model.json has 16\d+ bytes, .* at most"):
        unpack(bundle)


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_served_is_told_and_nothing_kept(
    imports: Imports, store: ObjectStore, bundle: Path, name: str
) -> None:
    change, says = UNUSABLE[name]
    changed(bundle, change)

    with pytest.raises(WrongBundle) as refused:
        imports.take(bundle, wish(), request())

    assert says in refused.value.message
    assert list(store.list("acme/")) == []


def test_a_graph_that_reads_other_files_is_refused(imports: Imports, bundle: Path) -> None:
    model = onnx.load_from_string(tiny_graph(labels=len(LABELS)))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="tokenizer.json")
    changed(bundle, graph(model.SerializeToString()))

    with pytest.raises(WrongBundle, match="weights in other files"):
        imports.take(bundle, wish(), request())


@pytest.mark.parametrize("name", ["model.onnx", "evaluation.json", "loader.py"])
def test_a_damaged_file_is_told_by_its_checksum(bundle: Path, name: str) -> None:
    def damage(files: dict[str, bytes]) -> None:
        files[name] = files[name][:-1] + b"\xff"

    changed(bundle, damage, indexed=False)

    with pytest.raises(WrongBundle, match=name) as refused:
        unpack(bundle)
    assert refused.value.reason is Reason.CHECKSUM_MISMATCH


@pytest.mark.parametrize(
    ("kind", "says"),
    [(tarfile.SYMTYPE, "no regular file"), (tarfile.DIRTYPE, "no regular file")],
)
def test_links_and_directories_are_refused(tmp_path: Path, kind: bytes, says: str) -> None:
    info = tarfile.TarInfo("model.json")
    info.type, info.linkname = kind, "/etc/passwd"
    path = tmp_path / "bundle.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + tar.END)

    with pytest.raises(WrongBundle, match=says):
        unpack(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no end"),
        (b"\x1f\x8b" + b"x" * 600, "compressed"),
        (tar.header("a.json", 10), "middle of 'a.json'"),
        (tar.header("a.json", 1) + b"x" * 512, "no end"),
        (2 * (tar.header("a.json", 0)) + tar.END, "twice"),
        (b"".join(tar.header(f"{n}.json", 0) for n in range(1001)) + tar.END, "more than 1000"),
    ],
    ids=["nothing", "compressed", "cut off", "without an end", "a file twice", "too many files"],
)
def test_what_is_no_bundle_is_told(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bundle.tar"
    path.write_bytes(content)

    with pytest.raises(WrongBundle, match=says):
        unpack(path)
