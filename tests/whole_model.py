"""A published model with everything that a run leaves: encoder, evaluation, texts, lineage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from isogloss.storage.v1.model_manifest_pb2 import (
    EncoderFile,
    Lineage,
    ModelManifest,
    Neighbours,
)
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.hyperparameters_pb2 import Hyperparameters
from services.common import layout, manifests, neighbours
from services.common.neighbours import NeighbourRows
from services.common.storage import ObjectStore
from tests.tiny_base import write_tiny_base
from tests.tiny_model import DIMENSION, LABELS, publish_tiny_model, store_file

TEXT = "a text that nobody else may read"
NEIGHBOUR_TEXT = "a text of a neighbour that nobody else may read"


def publish_whole_model(
    store: ObjectStore,
    scratch: Path,
    model: str,
    *,
    tenant: str = "default",
    seed: int = 0,
    cleaning: Cleaning | None = None,
) -> ModelManifest:
    """Publish `models/{model}` and return its manifest.

    The encoder is a base's, not the graph's: nothing in a bundle compares them.
    """
    manifest = publish_tiny_model(store, tenant, model, seed=seed, cleaning=cleaning)
    store.delete(layout.model_manifest(tenant, model))
    prefix = layout.attempt_prefix(tenant, model, 1, 1)
    base = write_tiny_base(scratch / "base")
    for path in sorted(base.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(base))
            file = store_file(store, f"{prefix}encoder/{name}", path.read_bytes())
            manifest.encoder.append(EncoderFile(path=name, file=file))
    scores = f'{{"name": "models/{model}/evaluation", "metrics": {{"accuracy": 0.75}}}}'
    manifest.evaluation.CopyFrom(store_file(store, f"{prefix}evaluation.json", scores.encode()))
    examples = layout.attempt_examples_prefix(tenant, model, 1, 1) + "examples.json"
    texts = f'{{"format_version": 1, "scored": {{"0": "{TEXT}"}}}}'
    manifest.examples.CopyFrom(store_file(store, examples, texts.encode()))
    manifest.neighbours.CopyFrom(_neighbours(store, tenant, model))
    predictions = scratch / "predictions.parquet"
    columns = {"digest": [b"d" * 16], "occurrence": [0], "labels": [["a"]], "predicted": [["a"]]}
    parquet.write_table(pa.table(columns), predictions)
    manifest.predictions.CopyFrom(
        store_file(store, f"{prefix}predictions.parquet", predictions.read_bytes())
    )
    manifest.lineage.CopyFrom(
        Lineage(
            base_model="baseModels/small",
            dataset="datasets/tone-aaaaaa",
            dataset_content_hash="c0ffee",
            hyperparameters=Hyperparameters(epochs=3),
            versions={"torch": "2.9"},
        )
    )
    assert manifests.create_manifest(store, layout.model_manifest(tenant, model), manifest)
    return manifest


def _neighbours(store: ObjectStore, tenant: str, model: str) -> Neighbours:
    """Store a row of each label."""
    count = len(LABELS)
    content = neighbours.write(
        NeighbourRows(
            vectors=np.eye(count, DIMENSION, dtype=np.float16),
            rows=np.arange(count, dtype=np.int64),
            label_ids=np.arange(count, dtype=np.int32),
            label_ends=np.arange(1, count + 1, dtype=np.int32),
        )
    )
    vectors = layout.attempt_prefix(tenant, model, 1, 1) + "neighbours.safetensors"
    texts = layout.attempt_examples_prefix(tenant, model, 1, 1) + "neighbours.json"
    told = {"format_version": 1, "train": dict.fromkeys(range(count), NEIGHBOUR_TEXT)}
    return Neighbours(
        vectors=store_file(store, vectors, content),
        texts=store_file(store, texts, json.dumps(told).encode()),
        rows=count,
        nearest=1,
        held_out_cosines=np.linspace(0.5, 1.0, neighbours.HELD_OUT_STEPS),
    )
