"""Base models: what the object store has of them, and how they get there.

The API process only reads; publishing needs torch and has a process of its own.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from isogloss.storage.v1.model_manifest_pb2 import (
    BaseInfo,
    EncoderFile,
    ModelManifest,
    TextInput,
    Variant,
)
from isogloss.v1.precision_pb2 import Precision
from services.common import layout, manifests
from services.common.errors import NotFound
from services.common.names import Collection, parse
from services.common.storage import ObjectStore
from services.trainer.base_import import BaseEncoder, UnsupportedBase, read_base
from services.trainer.base_sources import SourceError, describe, local_directory, obtain
from services.trainer.prefixes_proto import typed_prefixes_to_proto


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """What is told of a base.

    Before it is published the digest is empty, and the numbers are 0 unless its files are on
    this machine.
    """

    id: str
    display_name: str
    description: str
    license: str
    dimension: int = 0
    max_tokens: int = 0
    parameter_count: int = 0
    digest: str = ""


class Catalogue:
    """The bases that a model can start from.

    Args:
        store: Where published ones are.
        sources: Where the configured ones come from, by id.
    """

    def __init__(self, store: ObjectStore, sources: Mapping[str, str]) -> None:
        """Keep the parts.

        Raises:
            InvalidArgument: Where an id is none.
        """
        for base in sources:
            check_id(base)
        self._store = store
        self.sources = dict(sources)

    def list(self) -> list[BaseModel]:
        """Return all bases, by id."""
        prefix = layout.base_models_prefix()
        published = {
            item.key.removeprefix(prefix).removesuffix("/model.json")
            for item in self._store.list(prefix)
            if item.key.endswith("/model.json")
        }
        return [self.get(base) for base in sorted(published | self.sources.keys())]

    def get(self, base: str) -> BaseModel:
        """Return one base.

        Raises:
            NotFound: Where it is neither published nor configured.
        """
        manifest = find(self._store, base)
        if manifest is not None:
            return _from_manifest(base, manifest)
        if base not in self.sources:
            raise NotFound(
                f"baseModels/{base}", hint="`isogloss models bases` shows what there is."
            )
        return _from_source(base, self.sources[base])

    def missing(self) -> dict[str, str]:
        """Return the configured bases that are not published yet, with their sources."""
        return {
            base: source for base, source in self.sources.items() if find(self._store, base) is None
        }


def check_id(base: str) -> None:
    """Refuse what cannot be the id of a base.

    Raises:
        InvalidArgument: With the form that it must have.
    """
    parse(f"{Collection.BASE_MODELS}/{base}", Collection.BASE_MODELS, field="bases")


def find(store: ObjectStore, base: str) -> ModelManifest | None:
    """Return the manifest of a published base, or None."""
    key = layout.base_model_manifest(base)
    if store.stat(key) is None:
        return None
    return manifests.read_manifest(store, key, ModelManifest)


def publish(store: ObjectStore, base: str, source: str, scratch: Path) -> ModelManifest:
    """Publish a base unless it is there already, and return its manifest. Needs torch.

    Args:
        store: Where to.
        base: Its id.
        source: Where it comes from; see `base_sources`.
        scratch: A directory for what is downloaded and exported.

    Raises:
        SourceError: Where the source does not have it.
        UnsupportedBase: Where it is an encoder that cannot be read.
        ExportMismatch: Where the exported graph does not compute what the encoder does.
    """
    there = find(store, base)
    if there is not None:
        return there
    mark = layout.base_model_pending(base)
    store.put(mark, b"{}")
    try:
        return _publish(store, base, source, scratch)
    finally:
        store.delete(mark)


def _publish(store: ObjectStore, base: str, source: str, scratch: Path) -> ModelManifest:
    encoder = read_base(obtain(source, scratch, store))
    # Keys of its own: of two that publish at once, the loser's files harm nobody.
    prefix = f"{layout.base_model_prefix(base)}{secrets.token_hex(4)}/"
    manifest = _upload(store, encoder, name=base, source=source, prefix=prefix, scratch=scratch)
    key = layout.base_model_manifest(base)
    if manifests.create_manifest(store, key, manifest):
        return manifest
    for item in list(store.list(prefix)):
        store.delete(item.key)
    return manifests.read_manifest(store, key, ModelManifest)


def fetch(store: ObjectStore, manifest: ModelManifest, directory: Path) -> BaseEncoder:
    """Download the encoder of a published base, verified, and read it.

    Raises:
        DataLoss: Where a file is missing or is not what the manifest says.
    """
    for item in manifest.encoder:
        path = (directory / item.path).resolve()
        if not path.is_relative_to(directory.resolve()):
            msg = f"{manifest.name} names a file outside its directory: {item.path!r}"
            raise ValueError(msg)
        path.parent.mkdir(parents=True, exist_ok=True)
        manifests.fetch(store, item.file, path)
    return read_base(directory)


def _upload(
    store: ObjectStore, encoder: BaseEncoder, *, name: str, source: str, prefix: str, scratch: Path
) -> ModelManifest:
    # Imported here: torch takes seconds and hundreds of megabytes.
    from services.trainer.exporting.variants import export_base  # noqa: PLC0415

    export = export_base(encoder, scratch, probe_texts=PROBE_TEXTS)
    exact = export.exact
    files = [
        EncoderFile(
            path=path,
            file=manifests.upload(store, f"{prefix}encoder/{path}", encoder.directory / path),
        )
        for path in encoder.files
    ]
    graph = manifests.upload(store, f"{prefix}model.onnx", exact.path)
    origin = describe(source)
    now = Timestamp()
    now.GetCurrentTime()
    return ModelManifest(
        format_version=manifests.FORMAT_VERSION,
        name=f"baseModels/{name}",
        display_name=origin.display_name,
        input=TextInput(
            tokenizer=next(item.file for item in files if item.path == "tokenizer.json"),
            max_tokens=encoder.max_tokens,
            pad_token_id=encoder.pad_token_id,
            prefix=encoder.prefix,
            typed_prefixes=typed_prefixes_to_proto(encoder.typed_prefixes),
        ),
        dimension=encoder.dimensions,
        vector_range=export.vector_range,
        matryoshka_dimensions=encoder.matryoshka_dimensions,
        variants=[
            Variant(
                precision=Precision.PRECISION_EXACT,
                graph=graph,
                min_cosine=exact.min_cosine,
                max_probability_error=exact.max_probability_difference,
            )
        ],
        encoder=files,
        base=BaseInfo(
            description=origin.description,
            parameter_count=encoder.parameters,
            license=origin.license,
            source=origin.source,
        ),
        create_time=now,
    )


def _from_source(base: str, source: str) -> BaseModel:
    origin = describe(source)
    encoder = None
    # Whoever publishes it says what is wrong with it.
    with contextlib.suppress(SourceError, UnsupportedBase):
        directory = local_directory(source)
        encoder = None if directory is None else read_base(directory)
    return BaseModel(
        id=base,
        display_name=origin.display_name,
        description=origin.description,
        license=origin.license,
        dimension=encoder.dimensions if encoder else 0,
        max_tokens=encoder.max_tokens if encoder else 0,
        parameter_count=encoder.parameters if encoder else 0,
    )


def _from_manifest(base: str, manifest: ModelManifest) -> BaseModel:
    return BaseModel(
        id=base,
        display_name=manifest.display_name,
        description=manifest.base.description,
        license=manifest.base.license,
        dimension=manifest.dimension,
        max_tokens=manifest.input.max_tokens,
        parameter_count=manifest.base.parameter_count,
        digest=next(
            variant.graph.sha256
            for variant in manifest.variants
            if variant.precision == Precision.PRECISION_EXACT
        ),
    )


PROBE_TEXTS = (
    "My order was late.",
    "The driver left it in the rain, and nobody answered when I called.",
    "ok",
    "Thank you so much! Everything arrived a day early and in perfect condition.",
    "Why was I charged twice for the same subscription in October?",
    "app crashes on start since the last update, Android 15, Pixel 8",
    "I would like to change the delivery address of my order #12345, please.",
    "Great. Another form to fill in. Exactly what I wanted to do this evening.",
    "naïve café, Zürich, 東京, emoji 🙂, and a very-long-hyphenated-word_with_underscores",
    "a " * 200,
)
"""What an exported base is compared on: short and long, plain and odd."""
