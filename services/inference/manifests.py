"""Reads what the trainer published. The one domain module that knows the manifest's schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from isogloss.storage.v1.example_texts_pb2 import ExampleTexts
from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.storage.v1.stored_file_pb2 import StoredFile
from isogloss.v1 import input_type_pb2, label_mode_pb2, precision_pb2
from services.common.cleaning import Cleaning
from services.common.cleaning_proto import cleaning_from_proto
from services.common.errors import DataLoss
from services.common.manifests import parse_manifest
from services.inference.artifact import Artifact
from services.inference.model import LabelMode, Precision
from services.inference.neighbours.stored import StoredNeighbours
from services.inference.tokenization import InputType

_SHA256 = re.compile(r"[0-9a-f]{64}")

_PRECISIONS = {
    precision_pb2.PRECISION_EXACT: Precision.EXACT,
    precision_pb2.PRECISION_QUANTIZED: Precision.QUANTIZED,
}

_LABEL_MODES = {
    # A base has no labels and says nothing of them.
    label_mode_pb2.LABEL_MODE_UNSPECIFIED: LabelMode.SINGLE,
    label_mode_pb2.LABEL_MODE_SINGLE: LabelMode.SINGLE,
    label_mode_pb2.LABEL_MODE_MULTI: LabelMode.MULTI,
}


_INPUT_TYPES = {
    input_type_pb2.INPUT_TYPE_QUERY: InputType.QUERY,
    input_type_pb2.INPUT_TYPE_DOCUMENT: InputType.DOCUMENT,
    input_type_pb2.INPUT_TYPE_CLASSIFICATION: InputType.CLASSIFICATION,
    input_type_pb2.INPUT_TYPE_CLUSTERING: InputType.CLUSTERING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """What is needed to serve a model."""

    name: str
    tokenizer: Artifact
    max_tokens: int
    pad_token_id: int
    cleaning: Cleaning | None
    """What is done to every text before it is tokenised; None: nothing."""

    prefix: str
    """What is put before every text once it is cleaned; mostly nothing."""

    dimension: int
    labels: tuple[str, ...]
    label_mode: LabelMode
    thresholds: tuple[float, ...]
    """Of each label, from which confidence on it is given; empty with one label a text."""

    graphs: Mapping[Precision, Artifact]

    half: Artifact | None = None
    """The EXACT graph in 16-bit floats, proven equal; None for most."""

    vector_range: float = 0.0
    """How far from 0 the numbers of its embeddings reach; 0 where nobody measured it."""

    matryoshka_dimensions: tuple[int, ...] = ()
    """Lengths to which its embeddings may be cut, by its training."""

    typed_prefixes: Mapping[InputType, str] = field(default_factory=dict)
    """Instead of `prefix` for texts of these types."""

    neighbours: StoredNeighbours | None = None
    """Rows that it learnt from; None where it keeps none."""


def parse_published(content: bytes, key: str) -> PublishedModel:
    """Return what the manifest `content` says; `key` names it in errors.

    Raises:
        DataLoss: Where it cannot be read, or names what cannot be served.
    """
    manifest = parse_manifest(content, key, ModelManifest)
    if manifest.label_mode not in _LABEL_MODES:
        raise DataLoss(
            f"{manifest.name} has a label mode that this server does not know. Update the "
            "inference service to the trainer's version.",
            metadata={"key": key},
        )
    try:
        cleaning = (
            cleaning_from_proto(manifest.input.cleaning)
            if manifest.input.HasField("cleaning")
            else None
        )
    except ValueError as error:
        raise DataLoss(
            f"{manifest.name} cleans texts in a way that this server does not know ({error}). "
            "Update the inference service to the trainer's version.",
            metadata={"key": key},
        ) from error
    return PublishedModel(
        name=manifest.name,
        tokenizer=_artifact(manifest.input.tokenizer, key),
        max_tokens=manifest.input.max_tokens,
        pad_token_id=manifest.input.pad_token_id,
        cleaning=cleaning,
        prefix=manifest.input.prefix,
        dimension=manifest.dimension,
        labels=tuple(manifest.labels),
        label_mode=_LABEL_MODES[manifest.label_mode],
        thresholds=_thresholds(manifest, key),
        graphs={
            # A precision from the future is left out: nobody can ask this server for it.
            _PRECISIONS[variant.precision]: _artifact(variant.graph, key)
            for variant in manifest.variants
            if variant.precision in _PRECISIONS
        },
        half=_half(manifest, key),
        vector_range=manifest.vector_range,
        matryoshka_dimensions=tuple(manifest.matryoshka_dimensions),
        typed_prefixes={
            # As above: nobody can ask for a type from the future.
            _INPUT_TYPES[typed.input_type]: typed.prefix
            for typed in manifest.input.typed_prefixes
            if typed.input_type in _INPUT_TYPES
        },
        neighbours=_neighbours(manifest, key),
    )


def parse_texts(content: bytes, key: str) -> Mapping[int, str]:
    """Return the texts of training rows that a file has, by place; `key` names it in errors.

    Raises:
        DataLoss: Where it cannot be read.
    """
    return dict(parse_manifest(content, key, ExampleTexts).train)


def _half(manifest: ModelManifest, key: str) -> Artifact | None:
    exact = (
        variant.half_graph
        for variant in manifest.variants
        if variant.precision == precision_pb2.PRECISION_EXACT and variant.HasField("half_graph")
    )
    file = next(exact, None)
    return None if file is None else _artifact(file, key)


def _neighbours(manifest: ModelManifest, key: str) -> StoredNeighbours | None:
    if not manifest.HasField("neighbours"):
        return None
    kept = manifest.neighbours
    return StoredNeighbours(
        vectors=_artifact(kept.vectors, key),
        texts=_artifact(kept.texts, key) if kept.HasField("texts") else None,
        dataset=manifest.lineage.dataset,
        rows=kept.rows,
        nearest=kept.nearest,
        held_out_cosines=tuple(kept.held_out_cosines),
    )


def _thresholds(manifest: ModelManifest, key: str) -> tuple[float, ...]:
    several = manifest.label_mode == label_mode_pb2.LABEL_MODE_MULTI
    if len(manifest.thresholds) != (len(manifest.labels) if several else 0):
        raise DataLoss(
            f"{manifest.name} has {len(manifest.labels)} labels and {len(manifest.thresholds)} "
            "thresholds. Train it again.",
            metadata={"key": key},
        )
    return tuple(manifest.thresholds)


def _artifact(file: StoredFile, manifest_key: str) -> Artifact:
    # The checksum becomes a path in the cache, so it must be one.
    if not _SHA256.fullmatch(file.sha256) or not file.key or file.size < 0:
        raise DataLoss(
            f"The manifest {manifest_key} names a file without a key, size or sha256. Publish "
            "the model again.",
            metadata={"key": manifest_key},
        )
    return Artifact(key=file.key, size=file.size, sha256=file.sha256)
