"""Reading bundles of strangers: everything is checked before anything of it is used or kept.

Nothing is extracted: files are read where they lie in the archive. Knows no store.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from isogloss.storage.v1.bundle_pb2 import Bundle
from isogloss.storage.v1.example_texts_pb2 import ExampleTexts
from isogloss.storage.v1.model_manifest_pb2 import ModelManifest, Variant
from isogloss.v1.evaluation_pb2 import Evaluation
from isogloss.v1.hyperparameters_pb2 import Hyperparameters
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.precision_pb2 import Precision
from isogloss.v1.projection_pb2 import Projection
from services.common import manifests, names
from services.common.cleaning_proto import cleaning_from_proto
from services.common.errors import FieldViolation, InvalidArgument, Reason
from services.common.names import Collection, check_display_name
from services.trainer.base_import import CONFIG, TOKENIZER, WEIGHTS
from services.trainer.evaluation.stored import POINT_CHARACTERS
from services.trainer.registry import bundled_rows, tar
from services.trainer.registry.bundle import (
    EXAMPLES,
    FORMAT_VERSION,
    INDEX,
    LOADER,
    MANIFEST,
    stored_files,
)

MAX_FILES = 1000
_MAX_JSON_BYTES = 64 * 1024 * 1024
"""Tokenizers of 250,000 tokens have 17 MB. They are opened by the probe."""

_MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""Of what is read here, where it takes some twenty times its size while it is parsed: an index of
1,000 files has some 200 kB, an evaluation 3 MiB, and 30,000 labels with their counts 15 MB."""

_MAX_ANSWER_BYTES = 3 * 1024 * 1024
"""Of the 4 MiB that every client takes, texts included; names come on top."""

_MAX_ROWS_BYTES = 64 * 1024 * 1024
"""5,000 vectors of 4,096 half floats are 41 MB."""

_MAX_CARD_BYTES = 1024 * 1024
"""Fifty labels, five tables and some advice have some 20 kB."""

_CHUNK_BYTES = 1024 * 1024

_PATH = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/){0,3}[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""No segment begins with a dot, so none leads out of the bundle."""

_KINDS = frozenset({".json", ".md", ".onnx", ".parquet", ".safetensors", ".txt"})
"""What cannot be executed by reading it; pickles are not among it."""

M = TypeVar("M", bound=Message)


class WrongBundle(InvalidArgument):
    """The bundle is none, damaged, or not one that this release takes."""

    def __init__(self, problem: str, *, reason: Reason = Reason.INVALID_FIELD) -> None:
        """Say what was found.

        Args:
            problem: What is wrong, as a clause.
            reason: What happened.
        """
        description = (
            f"is no bundle that can be imported: {problem}. Export the model again with "
            "`isogloss models export`, and send the file as it is."
        )
        super().__init__(FieldViolation(field="data", description=description, reason=reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A bundle whose files are what it says, on this machine."""

    archive: Path
    manifest: ModelManifest
    """Its keys are paths in the bundle."""

    files: Mapping[str, tar.Member]

    def read(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file, at most 1 MiB at a time."""
        with self.archive.open("rb") as archive:
            yield from _content(archive, self.files[path])


def unpack(archive: Path) -> Unpacked:
    """Check a bundle.

    Raises:
        WrongBundle: Where anything about it is not as it must be.
    """
    size = archive.stat().st_size
    with archive.open("rb") as file:
        try:
            files = _files(tar.members(file, size))
        except tar.Malformed as error:
            raise WrongBundle(str(error)) from error
        index = _read(file, files, INDEX, Bundle)
        if index.format_version != FORMAT_VERSION:
            raise WrongBundle(
                f"it has format {index.format_version} and this release reads {FORMAT_VERSION}"
            )
        _check_files(file, files, index)
        manifest = _read(file, files, MANIFEST, ModelManifest)
        _check_manifest(manifest, index)
        _check_documents(file, files, manifest)
        _check_rows(file, files, manifest)
    return Unpacked(archive=archive, manifest=manifest, files=files)


def _files(found: Iterator[tar.Member]) -> dict[str, tar.Member]:
    files: dict[str, tar.Member] = {}
    for member in found:
        path = member.path
        if not _PATH.fullmatch(path) or len(path) > tar.MAX_PATH:
            raise WrongBundle(f"the path {path[: tar.MAX_PATH]!r} is none that a bundle has")
        if path != LOADER and PurePosixPath(path).suffix not in _KINDS:
            raise WrongBundle(
                f"{path!r} is of a kind that is not taken: weights are .safetensors and .onnx, and "
                "pickles are refused"
            )
        if path in files:
            raise WrongBundle(f"{path!r} is in it twice")
        if path.endswith(".json") and member.size > _MAX_JSON_BYTES:
            raise WrongBundle(
                f"{path} has {member.size} bytes, {_MAX_JSON_BYTES} are taken at most"
            )
        if len(files) == MAX_FILES:
            raise WrongBundle(f"it has more than {MAX_FILES} files")
        files[path] = member
    return files


def _check_files(file: BinaryIO, files: Mapping[str, tar.Member], index: Bundle) -> None:
    """See that the archive holds what its index says, and nothing else."""
    entries = {entry.path: entry for entry in index.files}
    if differing := entries.keys() ^ (files.keys() - {INDEX}):
        path = min(differing)
        found = "lacks" if path in entries else "also holds"
        raise WrongBundle(f"it {found} {path[: tar.MAX_PATH]!r}, other than {INDEX} says")
    for path, entry in entries.items():
        digest = hashlib.sha256()
        for chunk in _content(file, files[path]):
            digest.update(chunk)
        if (files[path].size, digest.hexdigest()) != (entry.size, entry.sha256):
            raise WrongBundle(
                f"{path!r} has another size or sha256 than {INDEX} says",
                reason=Reason.CHECKSUM_MISMATCH,
            )


def _check_manifest(manifest: ModelManifest, index: Bundle) -> None:
    """See that the manifest names the files of the bundle, and can be a model's."""
    if manifest.format_version != manifests.FORMAT_VERSION:
        raise WrongBundle(
            f"{MANIFEST} has format {manifest.format_version} and this release reads "
            f"{manifests.FORMAT_VERSION}"
        )
    # A model has neither of its own: a stranger's loader would leave with it as ours.
    entries = {entry.path: entry for entry in index.files if entry.path not in (MANIFEST, LOADER)}
    named = list(stored_files(manifest))
    for stored in named:
        entry = entries.get(stored.key)
        if entry is None or (entry.size, entry.sha256) != (stored.size, stored.sha256):
            raise WrongBundle(f"{MANIFEST} names {stored.key[:100]!r}, which {INDEX} does not")
    if unnamed := entries.keys() - {stored.key for stored in named}:
        raise WrongBundle(f"{MANIFEST} does not name {min(unnamed)!r}; a later release may")
    texts = {manifest.examples.key, manifest.neighbours.texts.key}
    for stored in named:
        # A purge of the dataset removes what is there: all texts, and nothing that serves.
        if (stored.key in texts) is not stored.key.startswith(EXAMPLES):
            place = "outside of" if stored.key in texts else "below"
            raise WrongBundle(f"{MANIFEST} names {stored.key[:100]!r} {place} {EXAMPLES}")
    for problem in _problems(manifest):
        raise WrongBundle(f"{MANIFEST} {problem}")


def _check_documents(
    file: BinaryIO, files: Mapping[str, tar.Member], manifest: ModelManifest
) -> None:
    """See that what is told of the model can be told again, each row with its text."""
    if manifest.model_card.size > _MAX_CARD_BYTES:
        raise WrongBundle(f"{manifest.model_card.key} has more than {_MAX_CARD_BYTES} bytes")
    evaluation = _read(file, files, manifest.evaluation.key, Evaluation)
    projection, texts = Projection(), ExampleTexts()
    if manifest.projection.key:
        projection = _read(file, files, manifest.projection.key, Projection)
    if manifest.examples.key:
        texts = _read(file, files, manifest.examples.key, ExampleTexts)
    scored, train = _sizes(texts.scored), _sizes(texts.train)
    points = _sizes(texts.scored, characters=POINT_CHARACTERS)
    told = evaluation.ByteSize() + sum(scored.get(one.row, 0) for one in evaluation.worst_errors)
    told += sum(train.get(one.row, 0) for one in evaluation.suspicious_labels)
    shown = projection.ByteSize() + sum(points.get(one.row, 0) for one in projection.points)
    for key, size in ((manifest.evaluation.key, told), (manifest.projection.key, shown)):
        if size > _MAX_ANSWER_BYTES:
            raise WrongBundle(f"{key} holds more than one answer can")


def _check_rows(file: BinaryIO, files: Mapping[str, tar.Member], manifest: ModelManifest) -> None:
    """See that the training rows that the model keeps can explain what it answers."""
    vectors, texts = manifest.neighbours.vectors.key, manifest.neighbours.texts.key
    try:
        bundled_rows.check(
            manifest,
            lambda: _bytes(file, files, vectors, limit=_MAX_ROWS_BYTES),
            lambda: _read(file, files, texts, ExampleTexts),
        )
    except ValueError as error:
        raise WrongBundle(f"{vectors or MANIFEST} {error}") from error


def _sizes(texts: Mapping[int, str], *, characters: int | None = None) -> dict[int, int]:
    """Return the bytes of each text, or of its beginning."""
    return {row: len(text[:characters].encode()) for row, text in texts.items()}


def _problems(manifest: ModelManifest) -> Iterator[str]:
    """Yield what keeps a manifest from being a model's, as clauses."""
    precisions = {variant.precision for variant in manifest.variants}
    lineage = manifest.lineage
    for problem, wrong in (
        ("names no EXACT graph", Precision.PRECISION_EXACT not in precisions),
        ("has a graph of an unknown precision", not precisions <= _PRECISIONS),
        ("has a variant whose figures are no numbers", not _are_numbers(manifest.variants)),
        ("names no tokenizer", not manifest.input.tokenizer.key),
        ("names no evaluation", not manifest.evaluation.key),
        ("lacks files of the encoder", not _ENCODER.issubset(one.path for one in manifest.encoder)),
        ("has no labels", not manifest.labels),
        ("has a label twice", len(set(manifest.labels)) != len(manifest.labels)),
        ("has an unknown label mode", manifest.label_mode not in _LABEL_MODES),
        ("has no embedding's length", manifest.dimension < 1),
        ("has no longest text", manifest.input.max_tokens < 1),
        ("cuts embeddings to lengths that they have not", not _cuts_fit(manifest)),
        ("has thresholds for other labels", not _thresholds_fit(manifest)),
        ("has no display name that can be shown", check_display_name(manifest.display_name)),
        ("has a positive label that is none", lineage.positive_label not in {"", *manifest.labels}),
        ("has a content hash that is none", not _HASH.fullmatch(lineage.dataset_content_hash)),
        ("has hyperparameters that are unknown", not _known(lineage.hyperparameters)),
    ):
        if wrong:
            yield problem
    try:
        names.parse(manifest.name, Collection.MODELS)
        names.parse(lineage.base_model, Collection.BASE_MODELS, Collection.MODELS)
        names.parse(lineage.dataset, Collection.DATASETS)
        cleaning_from_proto(manifest.input.cleaning)
    except InvalidArgument as error:
        yield f"has a name that is none: {error.message}"
    except ValueError as error:
        yield f"cleans texts in an unknown way ({error})"


_PRECISIONS = frozenset({Precision.PRECISION_EXACT, Precision.PRECISION_QUANTIZED})
_LABEL_MODES = frozenset({LabelMode.LABEL_MODE_SINGLE, LabelMode.LABEL_MODE_MULTI})
_ENCODER = frozenset({CONFIG, TOKENIZER, WEIGHTS})
_HASH = re.compile(r"[0-9a-f]{0,64}")


def _thresholds_fit(manifest: ModelManifest) -> bool:
    several = manifest.label_mode == LabelMode.LABEL_MODE_MULTI
    count = len(manifest.labels) if several else 0
    return len(manifest.thresholds) == count and all(0 <= one <= 1 for one in manifest.thresholds)


def _cuts_fit(manifest: ModelManifest) -> bool:
    lengths = list(manifest.matryoshka_dimensions)
    return lengths == sorted(set(lengths)) and all(0 < one <= manifest.dimension for one in lengths)


def _are_numbers(variants: Iterable[Variant]) -> bool:
    return all(
        math.isfinite(figure)
        for one in variants
        for figure in (
            one.min_cosine,
            one.max_probability_error,
            one.accuracy_loss,
            one.speedup,
        )
    )


def _known(given: Hyperparameters) -> bool:
    numbers = [
        one
        for _, value in given.ListFields()
        for one in ([value] if isinstance(value, int | float) else value)
    ]
    return all(map(math.isfinite, numbers)) and given.preset in Hyperparameters.Preset.values()


def _read(file: BinaryIO, files: Mapping[str, tar.Member], path: str, kind: type[M]) -> M:
    content = _bytes(file, files, path, limit=_MAX_DOCUMENT_BYTES)
    try:
        # What a later release has added, and this one does not know, is no new format.
        return json_format.Parse(content, kind(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise WrongBundle(f"{path} cannot be read") from error


def _bytes(file: BinaryIO, files: Mapping[str, tar.Member], path: str, *, limit: int) -> bytes:
    member = files.get(path)
    if member is None:
        raise WrongBundle(f"it holds no {path}")
    if member.size > limit:
        raise WrongBundle(f"{path} has {member.size} bytes, {limit} are taken at most")
    return b"".join(_content(file, member))


def _content(file: BinaryIO, member: tar.Member) -> Iterator[bytes]:
    file.seek(member.offset)
    left = member.size
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk
