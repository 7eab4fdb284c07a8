"""A published model with everything that a run leaves: encoder, evaluation, texts, lineage."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from isogloss.storage.v1.model_manifest_pb2 import EncoderFile, Lineage, ModelManifest
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.hyperparameters_pb2 import Hyperparameters
from services.common import layout, manifests
from services.common.storage import ObjectStore
from tests.tiny_base import write_tiny_base
from tests.tiny_model import publish_tiny_model, store_file

TEXT = "a text that nobody else may read"


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
