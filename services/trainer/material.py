"""What a run works on: its rows, and the encoder it starts from, downloaded and verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1.label_mode_pb2 import LabelMode
from services.common.errors import FailedPrecondition, NotFound
from services.common.storage import ObjectStore
from services.trainer import catalogue, datasets
from services.trainer.base_import import BaseEncoder
from services.trainer.datasets import Dataset, Rows
from services.trainer.head import FormerHead
from services.trainer.messages import Logged, Tell
from services.trainer.run_base import RunFailed, find_base
from services.trainer.saving import load_head
from services.trainer.spec import RunSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Everything that a run works on."""

    base: BaseEncoder
    base_manifest: ModelManifest
    former: FormerHead | None
    """The head of the base, where that is a fine-tuned model."""

    dataset: Dataset
    train: Rows
    validation: Rows | None
    held_out: Rows
    """What the finished model is scored on: the test rows, else the validation rows."""

    split: str
    """Which of the two."""


def gather(spec: RunSpec, store: ObjectStore, tell: Tell) -> Material:
    """Download what the run works on into its scratch directory.

    Raises:
        RunFailed: Where the dataset cannot be trained on.
        IsoglossError: Where the store fails or holds something broken.
    """
    scratch = Path(spec.scratch)
    base_manifest = find_base(spec, store, tell)
    base = catalogue.fetch(store, base_manifest, scratch / "base")
    try:
        dataset, rows = datasets.read(
            store, tenant=spec.tenant, dataset=spec.dataset, directory=scratch
        )
    except (NotFound, FailedPrecondition) as error:
        raise RunFailed(f"datasets/{spec.dataset} is gone: it was deleted.") from error
    if dataset.content_hash != spec.dataset_content_hash:
        raise RunFailed(f"{dataset.name} is another one than when the model was created.")
    test, validation = rows.get("test"), rows.get("validation")
    if test:
        held_out, split = test, "test"
    elif validation:
        held_out, split = validation, "validation"
    else:
        raise RunFailed(f"{dataset.name} has no rows to score on: give it a validation share.")
    tell(
        Logged(
            level="info",
            message=f"{len(rows['train'])} training rows, {len(validation or ())} validation "
            f"rows, {len(test or ())} test rows, {len(dataset.labels)} labels.",
        )
    )
    return Material(
        base=base,
        base_manifest=base_manifest,
        former=_former(base, base_manifest),
        dataset=dataset,
        train=rows["train"],
        validation=validation or None,
        held_out=held_out,
        split=split,
    )


def _former(base: BaseEncoder, manifest: ModelManifest) -> FormerHead | None:
    if not manifest.labels:
        return None
    several = manifest.label_mode == LabelMode.LABEL_MODE_MULTI
    return FormerHead(
        labels=tuple(manifest.labels), head=load_head(base.directory, multi_label=several)
    )
