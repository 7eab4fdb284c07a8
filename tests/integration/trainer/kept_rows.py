"""What a model keeps of the rows that it learnt from, read back as whoever explains reads it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime
from google.protobuf import json_format
from tokenizers import Tokenizer

from isogloss.storage.v1.example_texts_pb2 import ExampleTexts
from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from services.common import manifests, neighbours
from services.common.neighbours import NeighbourRows
from services.common.storage import ObjectStore


def read_rows(store: ObjectStore, manifest: ModelManifest) -> NeighbourRows:
    """Return the rows, verified."""
    return neighbours.read(
        b"".join(manifests.verified(store, manifest.neighbours.vectors)),
        rows=manifest.neighbours.rows,
        dimension=manifest.dimension,
        labels=len(manifest.labels),
    )


def read_texts(store: ObjectStore, manifest: ModelManifest) -> Mapping[int, str]:
    """Return their texts, verified, by row."""
    content = b"".join(manifests.verified(store, manifest.neighbours.texts))
    return dict(json_format.Parse(content, ExampleTexts()).train)


def labels_of(rows: NeighbourRows, manifest: ModelManifest) -> list[list[str]]:
    """Return the names of each row's labels."""
    each = np.split(rows.label_ids, rows.label_ends[:-1])
    return [[manifest.labels[label] for label in labels] for labels in each]


def embedded(
    store: ObjectStore, manifest: ModelManifest, graph: onnxruntime.InferenceSession, text: str
) -> np.ndarray:
    """Return what the graph that is served makes of one short text, [D]."""
    tokenizer = Tokenizer.from_str(
        b"".join(manifests.verified(store, manifest.input.tokenizer)).decode()
    )
    ids = np.array([tokenizer.encode(text).ids], np.int64)
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    vector: np.ndarray = graph.run(["sentence_embedding"], given)[0][0]
    return vector
