"""What a model starts from: an untrained base, or a fine-tuned model of the same tenant.

Rows and runs keep a base's bare id and a model's full name: ids have no slash.
"""

from __future__ import annotations

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from services.common import layout, manifests, names
from services.common.errors import FieldViolation
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectStore

_FINE_TUNED = f"{Collection.MODELS}/"


def reference(name: ResourceName) -> str:
    """Return what is kept of a name."""
    return str(name) if name.collection is Collection.MODELS else name.id


def read(name: str, *, field: str, violations: list[FieldViolation]) -> str:
    """Return what is kept of a full name, or note what is wrong with it and return nothing."""
    known = Collection.BASE_MODELS, Collection.MODELS
    found = names.read(name, *known, field=field, violations=violations)
    return "" if found is None else reference(found)


def full_name(start: str) -> str:
    """Return the resource name of what was kept."""
    return start if is_fine_tuned(start) else f"{Collection.BASE_MODELS}/{start}"


def is_fine_tuned(start: str) -> bool:
    """Tell whether it is a fine-tuned model."""
    return start.startswith(_FINE_TUNED)


def find(store: ObjectStore, tenant: str, start: str) -> ModelManifest | None:
    """Return the manifest of what was kept, or None where it is not published."""
    key = (
        layout.model_manifest(tenant, start.removeprefix(_FINE_TUNED))
        if is_fine_tuned(start)
        else layout.base_model_manifest(start)
    )
    if store.stat(key) is None:
        return None
    return manifests.read_manifest(store, key, ModelManifest)
