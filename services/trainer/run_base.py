"""What a run starts from: found in the store, or published there first. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from services.common.storage import ObjectStore
from services.trainer import catalogue, starts
from services.trainer.messages import Logged, Tell
from services.trainer.spec import RunSpec


class RunFailed(Exception):
    """The run cannot succeed, however often it is tried; the message says what to do."""


def find_base(spec: RunSpec, store: ObjectStore, tell: Tell) -> ModelManifest:
    """Return the manifest of what the run starts from; a base that lacks is published first.

    Raises:
        RunFailed: Where there is none to be had.
        IsoglossError: Where the store fails, or a source is broken.
    """
    manifest = starts.find(store, spec.tenant, spec.base_model)
    if manifest is not None:
        return manifest
    if not spec.base_source:
        name = starts.full_name(spec.base_model)
        raise RunFailed(f"{name} is not published and has no source, or was deleted.")
    tell(Logged(level="info", message=f"Publishing the base model {spec.base_model} first."))
    return catalogue.publish(store, spec.base_model, spec.base_source, Path(spec.scratch))
