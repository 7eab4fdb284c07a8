"""From what a run uploaded to what is served: the manifest, and what is removed with it.

The order of writes is what makes a crash harmless: files first, the manifest last and only if
absent; at removal, the manifest first.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest, Variant
from isogloss.v1.precision_pb2 import Precision
from services.common import layout, manifests
from services.common.errors import FailedPrecondition, Reason
from services.common.storage import ObjectStore
from services.trainer import checkpoints, datasets
from services.trainer.hyperparameters_proto import hyperparameters_from_proto
from services.trainer.queue import Published
from services.trainer.state import State
from services.trainer.tables import ModelRow


def announce(store: ObjectStore, row: ModelRow) -> None:
    """Leave word of a model before it is published: inference and ingest look for it."""
    store.put(
        layout.model_pending(row.tenant, row.id),
        json.dumps({"create_time": row.create_time.isoformat()}).encode(),
    )
    datasets.note_use(store, tenant=row.tenant, dataset=row.dataset, model=row.id)


def find(store: ObjectStore, tenant: str, model: str) -> ModelManifest | None:
    """Return the manifest of a published model, or None."""
    key = layout.model_manifest(tenant, model)
    if store.stat(key) is None:
        return None
    return manifests.read_manifest(store, key, ModelManifest)


def parse(text: str, *, row: ModelRow, attempt: int, token: int) -> ModelManifest:
    """Read the manifest that a run made, and see that it is this attempt's.

    Raises:
        ValueError: Where it is not.
    """
    try:
        manifest = json_format.Parse(text, ModelManifest())
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error
    if (manifest.name, manifest.attempt, manifest.token) != (row.name, attempt, token):
        msg = f"the run made a manifest of {manifest.name}, attempt {manifest.attempt}"
        raise ValueError(msg)
    return manifest


def publish(store: ObjectStore, row: ModelRow, manifest: ModelManifest) -> ModelManifest:
    """Publish the manifest unless another attempt was first; return the one that holds."""
    key = layout.model_manifest(row.tenant, row.id)
    if manifests.create_manifest(store, key, manifest):
        return manifest
    return manifests.read_manifest(store, key, ModelManifest)


def facts(manifest: ModelManifest) -> Published:
    """Return what the database keeps of a published model."""
    used = manifest.lineage.hyperparameters
    return Published(
        variants=[_variant(variant) for variant in manifest.variants],
        dimension=manifest.dimension,
        max_tokens=manifest.input.max_tokens,
        hyperparameters=hyperparameters_from_proto(used),
    )


def tidy(store: ObjectStore, row: ModelRow, manifest: ModelManifest) -> None:
    """Remove what a published model does not need: the announcement and other attempts' work.

    Nobody can publish those attempts any more, as the manifest exists.
    """
    checkpoints.discard(store, row.tenant, row.id)
    winner = manifest.attempt, manifest.token
    for everything, kept in (
        (layout.runs_prefix(row.tenant, row.id), layout.attempt_prefix),
        (layout.model_examples_prefix(row.tenant, row.id), layout.attempt_examples_prefix),
    ):
        for item in list(store.list(everything)):
            if not item.key.startswith(kept(row.tenant, row.id, *winner)):
                store.delete(item.key)
    # Last: as long as it is there, somebody still tidies up.
    store.delete(layout.model_pending(row.tenant, row.id))


def withdraw(store: ObjectStore, row: ModelRow) -> None:
    """Remove what any attempt left of a CANCELLED or FAILED model, the manifest first.

    Whichever attempt published it: what has ended without success must not be served. Its dataset
    may go: nothing reads it any more, and no text of it is left. Its mark goes last: as long as it
    is there, somebody still tidies up.
    """
    store.delete(layout.model_manifest(row.tenant, row.id))
    checkpoints.discard(store, row.tenant, row.id)
    for prefix in (layout.runs_prefix, layout.model_examples_prefix):
        for item in list(store.list(prefix(row.tenant, row.id))):
            store.delete(item.key)
    datasets.forget_use(store, tenant=row.tenant, dataset=row.dataset, model=row.id)


def remove_attempt(store: ObjectStore, row: ModelRow, *, attempt: int, token: int) -> None:
    """Remove all that one attempt wrote."""
    for prefix in (layout.attempt_prefix, layout.attempt_examples_prefix):
        for item in list(store.list(prefix(row.tenant, row.id, attempt, token))):
            store.delete(item.key)


def remove(store: ObjectStore, row: ModelRow) -> None:
    """Remove all that is stored of a model, its manifest first."""
    store.delete(layout.model_manifest(row.tenant, row.id))
    for item in list(store.list(layout.model_prefix(row.tenant, row.id))):
        store.delete(item.key)
    datasets.forget_use(store, tenant=row.tenant, dataset=row.dataset, model=row.id)


def required(store: ObjectStore, row: ModelRow) -> ModelManifest:
    """Return the manifest of a model that has to be READY.

    Raises:
        FailedPrecondition: Where it is not.
    """
    manifest = find(store, row.tenant, row.id)
    if row.phase is not State.READY or manifest is None:
        raise FailedPrecondition(
            f"{row.name} is {row.state}, and only a READY model can be asked. "
            f"`isogloss models watch {row.name}` tells when it is.",
            reason=Reason.MODEL_NOT_READY,
            metadata={"name": row.name, "state": row.state},
        )
    return manifest


def _variant(variant: Variant) -> dict[str, Any]:
    return {
        "precision": Precision.Name(variant.precision),
        "digest": variant.graph.sha256,
        "size_bytes": variant.graph.size,
        "min_cosine": variant.min_cosine,
        "accuracy_loss": variant.accuracy_loss,
        "speedup": variant.speedup,
    }
