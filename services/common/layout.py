"""The keys of the object store: the one place that spells them. Pure strings.

What lies where is part of the contract between the services; ids and tenants must have been
checked before they come here.
"""

from __future__ import annotations

SHARED = "_shared"
"""Stands where a tenant stands, for what every tenant may read. No tenant has this name."""

_OFFSET_DIGITS = 20
"""Digits of 2**64 - 1: offsets sort as numbers."""

_STEP_DIGITS = 10
"""Digits of a training's steps, and of tokens: both sort as numbers."""

_VERSION_DIGITS = 8
"""Digits of an alias's versions: they sort as numbers."""


def datasets_prefix(tenant: str) -> str:
    """Return what every key of a tenant's datasets starts with."""
    return f"{tenant}/datasets/"


def dataset_prefix(tenant: str, dataset: str) -> str:
    """Return what every key of a dataset starts with."""
    return f"{datasets_prefix(tenant)}{dataset}/"


def dataset_of(key: str) -> tuple[str, str] | None:
    """Return tenant and id of the dataset that a key belongs to; None where it is another's."""
    tenant, *rest = key.split("/", 3)
    return (tenant, rest[1]) if len(rest) == 3 and rest[0] == "datasets" else None  # noqa: PLR2004  # the collection, the id, and what is in it


def dataset_manifest(tenant: str, dataset: str) -> str:
    """Return the key that makes a dataset READY."""
    return f"{dataset_prefix(tenant, dataset)}dataset.json"


def dataset_changes(tenant: str, dataset: str) -> str:
    """Return the key of what a dataset's manifest says that was changed since."""
    return f"{dataset_prefix(tenant, dataset)}changes.json"


def raw_prefix(tenant: str, dataset: str, split: str = "") -> str:
    """Return what the uploaded chunks of one split, or of all, start with."""
    return f"{dataset_prefix(tenant, dataset)}raw/" + (f"{split}/" if split else "")


def raw_chunk(tenant: str, dataset: str, split: str, offset: int) -> str:
    """Return the key of the chunk that starts at byte `offset`; listing gives byte order."""
    return f"{raw_prefix(tenant, dataset, split)}{offset:0{_OFFSET_DIGITS}d}"


def dataset_file(tenant: str, dataset: str, content_hash: str, name: str) -> str:
    """Return the key of one file of a validated dataset, such as `train.parquet`."""
    return f"{dataset_prefix(tenant, dataset)}{content_hash}/{name}"


def dataset_uses_prefix(tenant: str, dataset: str) -> str:
    """Return what the marks of all models that read a dataset start with."""
    return f"{dataset_prefix(tenant, dataset)}uses/"


def dataset_use(tenant: str, dataset: str, model: str) -> str:
    """Return the key of the mark that `model` reads a dataset; deletion looks for it."""
    return f"{dataset_uses_prefix(tenant, dataset)}{model}"


def model_prefix(tenant: str, model: str) -> str:
    """Return what every key of a model starts with."""
    return f"{tenant}/models/{model}/"


def model_manifest(tenant: str, model: str) -> str:
    """Return the key that makes a model READY."""
    return f"{model_prefix(tenant, model)}model.json"


def model_pending(tenant: str, model: str) -> str:
    """Return the key of the mark that a model exists, though it is not READY yet."""
    return f"{model_prefix(tenant, model)}pending.json"


def model_examples_prefix(tenant: str, model: str) -> str:
    """Return what the keys of all texts start with that a model copied of its dataset."""
    return f"{model_prefix(tenant, model)}examples/"


def attempt_examples_prefix(tenant: str, model: str, attempt: int, token: int) -> str:
    """Return what the keys of all texts start with that one attempt copied."""
    return f"{model_examples_prefix(tenant, model)}{attempt:04d}-{token}/"


def evaluation_prefix(tenant: str, model: str, evaluation: str) -> str:
    """Return what the keys of an evaluation on a further dataset start with, its texts apart."""
    return f"{model_prefix(tenant, model)}evaluations/{evaluation}/"


def evaluation_examples_prefix(tenant: str, model: str, evaluation: str) -> str:
    """Return what the keys of all texts start with that such an evaluation copied."""
    return f"{model_examples_prefix(tenant, model)}evaluations/{evaluation}/"


def runs_prefix(tenant: str, model: str) -> str:
    """Return what the keys of all attempts at a model start with."""
    return f"{model_prefix(tenant, model)}runs/"


def attempt_prefix(tenant: str, model: str, attempt: int, token: int) -> str:
    """Return what all keys that one attempt writes start with.

    Tokens only grow, so no two attempts share it, not even where one is counted again.
    """
    return f"{runs_prefix(tenant, model)}{attempt:04d}-{token}/"


def checkpoints_prefix(tenant: str, model: str) -> str:
    """Return what the keys of all checkpoints of a model's run start with."""
    return f"{model_prefix(tenant, model)}checkpoints/"


def checkpoint_prefix(checkpoints: str, step: int, token: int) -> str:
    """Return what the keys of one checkpoint start with; listing gives the order of the steps.

    Of two attempts that reached the same step the later one sorts behind.

    Args:
        checkpoints: `checkpoints_prefix`.
        step: Steps of the training that were done.
        token: The attempt's.
    """
    return f"{checkpoints}{step:0{_STEP_DIGITS}d}-{token:0{_STEP_DIGITS}d}/"


def aliases_prefix(tenant: str) -> str:
    """Return what every key of a tenant's aliases starts with."""
    return f"{tenant}/aliases/"


def alias_prefix(tenant: str, alias: str) -> str:
    """Return what the keys of all versions of an alias start with."""
    return f"{aliases_prefix(tenant)}{alias}/"


def alias_version(tenant: str, alias: str, version: int) -> str:
    """Return the key of one version of an alias; the highest one holds."""
    return f"{alias_prefix(tenant, alias)}{version:0{_VERSION_DIGITS}d}.json"


def alias_of(key: str) -> tuple[str, int]:
    """Return the alias and the version that a key of `alias_version` belongs to."""
    _, _, alias, name = key.split("/")
    return alias, int(name.removesuffix(".json"))


def alias_marks_prefix(tenant: str = "") -> str:
    """Return what the keys of the marks of one tenant, or of all, start with."""
    return f"{SHARED}/alias_marks/" + (f"{tenant}/" if tenant else "")


def alias_mark(tenant: str, stamp: str) -> str:
    """Return the key of a mark that an alias of a tenant may have changed."""
    return f"{alias_marks_prefix(tenant)}{stamp}"


def alias_mark_of(key: str) -> tuple[str, str]:
    """Return the tenant and the stamp that a key of `alias_mark` belongs to."""
    *_, tenant, stamp = key.split("/")
    return tenant, stamp


def base_models_prefix() -> str:
    """Return what the keys of all untrained bases start with."""
    return f"{SHARED}/base_models/"


def base_model_prefix(base_model: str) -> str:
    """Return what every key of one untrained base starts with."""
    return f"{base_models_prefix()}{base_model}/"


def base_model_manifest(base_model: str) -> str:
    """Return the key that makes a base READY."""
    return f"{base_model_prefix(base_model)}model.json"


def base_model_pending(base_model: str) -> str:
    """Return the key of the mark that somebody publishes a base; a crash leaves it there."""
    return f"{base_model_prefix(base_model)}pending.json"
