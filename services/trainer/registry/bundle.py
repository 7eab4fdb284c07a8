"""What a bundle of a model holds, where each file of it lies in the store, and how it is written.

A bundle is the directory of the attempt that made the model, beside `bundle.json` (every file
with size and sha256), `model.json` (the manifest, its keys being paths in the bundle) and
`loader.py`, which needs nothing of this project.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files

from google.protobuf import json_format
from google.protobuf.message import Message

from isogloss.storage.v1.bundle_pb2 import Bundle, BundleFile
from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.storage.v1.stored_file_pb2 import StoredFile
from services.common import layout, manifests
from services.common.errors import DataLoss, FailedPrecondition, Reason
from services.common.storage import CHUNK_BYTES, ObjectStore
from services.trainer.registry import tar

FORMAT_VERSION = 1
"""Of `bundle.json`: what this release writes, and the only one that it reads."""

INDEX = "bundle.json"
MANIFEST = "model.json"
LOADER = "loader.py"
EXAMPLES = "examples/"
"""Where the texts are that a model copied of its dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the files of one attempt at a model lie in the store."""

    tenant: str
    model: str
    attempt: int
    token: int

    @property
    def prefix(self) -> str:
        """What the keys of the attempt start with."""
        return layout.attempt_prefix(self.tenant, self.model, self.attempt, self.token)

    @property
    def examples(self) -> str:
        """What the keys of the copied texts start with."""
        return layout.attempt_examples_prefix(self.tenant, self.model, self.attempt, self.token)

    def path(self, key: str) -> str:
        """Return where a file of the store is in a bundle.

        Raises:
            DataLoss: Where it is none of the attempt's: nothing else ever leaves.
        """
        if key.startswith(self.examples):
            return EXAMPLES + key.removeprefix(self.examples)
        if key.startswith(self.prefix):
            return key.removeprefix(self.prefix)
        raise DataLoss(
            f"The manifest of models/{self.model} names the file {key}, which is not its own: "
            "restore the manifest from a backup, or train the model again.",
            metadata={"key": key},
        )

    def key(self, path: str) -> str:
        """Return where a file of a bundle is in the store."""
        if path.startswith(EXAMPLES):
            return self.examples + path.removeprefix(EXAMPLES)
        return self.prefix + path


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    entry: BundleFile
    chunks: Callable[[], Iterator[bytes]]


class Archive:
    """A bundle that is about to be sent."""

    def __init__(self, content: list[_File]) -> None:
        """Take its files in their order."""
        self._content = content
        sizes = [tar.stored_size(file.entry.size) for file in content]
        self.size_bytes = sum(sizes) + len(tar.END)

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes, 1 to 2**20 at a time.

        Raises:
            DataLoss: Where a stored file is missing or is not what the manifest says.
            Unavailable: Where the store does not answer.
        """
        for file in self._content:
            yield tar.header(file.entry.path, file.entry.size)
            yield from file.chunks()
            if gap := tar.padding(file.entry.size):
                yield gap
        yield tar.END


def pack(store: ObjectStore, manifest: ModelManifest, place: Place, *, texts: bool) -> Archive:
    """Return a model as a bundle; the same model gives the same bytes.

    Args:
        store: Where its files are.
        manifest: What it is; is left as it is.
        place: Where its files lie.
        texts: Whether texts of the dataset, which evaluation and explanations show, come along.

    Raises:
        FailedPrecondition: Where texts are asked for that are gone.
    """
    moved = ModelManifest()
    moved.CopyFrom(manifest)
    copied = [file for file in stored_files(moved) if file.key.startswith(place.examples)]
    if not texts:
        moved.ClearField("examples")
        if moved.HasField("neighbours"):
            moved.neighbours.ClearField("texts")
    elif any(store.stat(file.key) is None for file in copied):
        raise FailedPrecondition(
            f"The texts of {manifest.name} were removed with its dataset: export it without "
            "include_examples.",
            reason=Reason.STATE_CONFLICT,
            metadata={"name": manifest.name},
        )
    stored: dict[str, _File] = {}
    for file in stored_files(moved):
        original = StoredFile()
        original.CopyFrom(file)
        file.key = place.path(file.key)
        entry = BundleFile(path=file.key, size=file.size, sha256=file.sha256)
        stored[file.key] = _File(entry=entry, chunks=partial(manifests.verified, store, original))
    loader = files(__package__).joinpath(LOADER).read_bytes()
    content = [
        _written(MANIFEST, _json(moved)),
        _written(LOADER, loader),
        *(stored[path] for path in sorted(stored)),
    ]
    index = Bundle(format_version=FORMAT_VERSION, files=[file.entry for file in content])
    return Archive([_written(INDEX, _json(index)), *content])


def stored_files(message: Message) -> Iterator[StoredFile]:
    """Yield every stored file that a manifest names, wherever in it."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for item in value if field.is_repeated else (value,):
            if isinstance(item, StoredFile):
                yield item
            else:
                yield from stored_files(item)


def _written(path: str, content: bytes) -> _File:
    entry = BundleFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    return _File(entry=entry, chunks=partial(_pieces, content))


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]


def _json(message: Message) -> bytes:
    text = json_format.MessageToJson(
        message, preserving_proto_field_name=True, ensure_ascii=False, sort_keys=True
    )
    return f"{text}\n".encode()
