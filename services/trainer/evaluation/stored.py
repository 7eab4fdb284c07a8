"""How an evaluation lies in the object store: figures with the attempt, texts apart from them.

Texts are copies of a dataset's. They are kept under the model's `examples/`, so that a purge of the
dataset takes them and leaves the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import Message

from isogloss.storage.v1.example_texts_pb2 import ExampleTexts
from isogloss.storage.v1.stored_file_pb2 import StoredFile
from isogloss.v1.evaluation_pb2 import Evaluation
from isogloss.v1.projection_pb2 import Projection
from services.common import manifests
from services.common.storage import ObjectStore

TEXT_CHARACTERS = 500
POINT_CHARACTERS = 160
# 2,000 points of 160 characters are at most 1.3 MB, 150 rows of 500 at most 300 kB: each message
# stays within 4 MiB.


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the files of one evaluation go."""

    figures: str
    """Start of the keys of what holds no text."""

    texts: str
    """Start of the key of what does."""

    directory: Path
    """Scratch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What was stored."""

    evaluation: StoredFile
    predictions: StoredFile
    projection: StoredFile | None
    examples: StoredFile


def leave(
    store: ObjectStore,
    place: Place,
    *,
    evaluation: Evaluation,
    projection: Projection | None,
    predictions: Path,
    scored: Sequence[str],
    train: Sequence[str] = (),
) -> Left:
    """Store an evaluation.

    Args:
        store: Where to.
        place: Under which keys.
        evaluation: Without texts.
        projection: Without texts; None where there is none.
        predictions: A file that `predictions.write` wrote.
        scored: The texts that were scored; those that are shown are kept.
        train: The texts that were learnt from, likewise.
    """
    shown = {error.row for error in evaluation.worst_errors}
    shown |= {point.row for point in projection.points} if projection is not None else set()
    suspicious = {error.row for error in evaluation.suspicious_labels}
    texts = ExampleTexts(
        format_version=manifests.FORMAT_VERSION,
        scored={row: scored[row][:TEXT_CHARACTERS] for row in sorted(shown)},
        train={row: train[row][:TEXT_CHARACTERS] for row in sorted(suspicious)},
    )

    def stored(prefix: str, name: str, message: Message) -> StoredFile:
        path = place.directory / name
        path.write_text(json_format.MessageToJson(message, indent=None), encoding="utf-8")
        return manifests.upload(store, f"{prefix}{name}", path)

    return Left(
        evaluation=stored(place.figures, "evaluation.json", evaluation),
        predictions=manifests.upload(store, f"{place.figures}predictions.parquet", predictions),
        projection=(
            stored(place.figures, "projection.json", projection) if projection is not None else None
        ),
        examples=stored(place.texts, "texts.json", texts),
    )


def read_evaluation(store: ObjectStore, file: StoredFile, examples: StoredFile) -> Evaluation:
    """Return an evaluation, with its texts unless they were purged.

    Raises:
        DataLoss: Where the figures are missing, or a file is not what was stored.
    """
    found = json_format.Parse(_content(store, file), Evaluation(), ignore_unknown_fields=True)
    texts = _texts(store, examples)
    if texts is None:
        found.texts_removed = True
        return found
    for error in found.worst_errors:
        error.text = texts.scored[error.row]
    for suspicion in found.suspicious_labels:
        suspicion.text = texts.train[suspicion.row]
    return found


def read_projection(store: ObjectStore, file: StoredFile, examples: StoredFile) -> Projection:
    """Return a map; as `read_evaluation`."""
    found = json_format.Parse(_content(store, file), Projection(), ignore_unknown_fields=True)
    texts = _texts(store, examples)
    if texts is None:
        found.texts_removed = True
        return found
    for point in found.points:
        point.text = texts.scored[point.row][:POINT_CHARACTERS]
    return found


def _texts(store: ObjectStore, file: StoredFile) -> ExampleTexts | None:
    if not file.key or store.stat(file.key) is None:
        return None
    return json_format.Parse(_content(store, file), ExampleTexts(), ignore_unknown_fields=True)


def _content(store: ObjectStore, file: StoredFile) -> bytes:
    return b"".join(manifests.verified(store, file))
