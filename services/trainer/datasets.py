"""Datasets as the trainer sees them: manifests and rows that ingest left in the store.

Writes one thing there: which model uses which dataset, so that it is not deleted unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest, SplitFile
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.split_pb2 import Split as SplitProto
from services.common import layout, manifests
from services.common.cleaning import Cleaning
from services.common.cleaning_proto import cleaning_from_proto
from services.common.errors import FailedPrecondition, NotFound, Reason
from services.common.storage import ObjectStore

_GROUP = "group"
# Of near duplicates; ingest that does not look for them leaves no such column.


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """What a run has to know of a dataset before it reads a row."""

    id: str
    content_hash: str
    labels: tuple[str, ...]
    """In the order of a model's outputs."""

    multi: bool
    """Whether a text can have several labels."""

    cleaning: Cleaning
    """What was done to its texts, and has to be done to every text that a model is asked of."""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"datasets/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of one split."""

    texts: list[str]
    label_ids: list[int]
    """Indices into the dataset's labels, one a text; empty where a text can have several."""

    label_sets: list[tuple[int, ...]] | None
    """Indices into the dataset's labels, any number a text; None where each has one."""

    groups: list[int | None]
    """Which texts are near duplicates of each other, by number; None for a text that is none."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRow:
    """One row with its labels by name."""

    text: str
    labels: tuple[str, ...]


def find(store: ObjectStore, *, tenant: str, dataset: str) -> Dataset:
    """Look a validated dataset up.

    Raises:
        NotFound: Where the store knows nothing of it: it does not exist or has no byte yet.
        FailedPrecondition: Where it is not READY, or cleaned in an unknown way.
    """
    return _facts(dataset, _manifest(store, tenant, dataset))


def read(
    store: ObjectStore, *, tenant: str, dataset: str, directory: Path
) -> tuple[Dataset, Mapping[str, Rows]]:
    """Download the rows of a dataset, verified, by way of `directory`.

    Returns:
        The dataset, and the rows of the splits `train`, `validation` and `test` that it has.
        Held-out rows with a label that is not among the training labels are left out.

    Raises:
        NotFound, FailedPrecondition: As `find`.
        DataLoss: Where a file is missing or is not what the manifest says.
    """
    manifest = _manifest(store, tenant, dataset)
    facts = _facts(dataset, manifest)
    index = {label: number for number, label in enumerate(facts.labels)}
    rows: dict[str, Rows] = {}
    for split in manifest.splits:
        name = _split_name(split)
        path = directory / f"{name}.parquet"
        manifests.fetch(store, split.file, path)
        rows[name] = _read_rows(path, index, multi=facts.multi)
        path.unlink()
    return facts, rows


def splits(store: ObjectStore, *, tenant: str, dataset: str) -> set[str]:
    """Return which of `train`, `validation` and `test` a validated dataset has rows of.

    Raises:
        NotFound, FailedPrecondition: As `find`.
    """
    manifest = _manifest(store, tenant, dataset)
    return {_split_name(split) for split in manifest.splits if split.row_count}


def read_split(
    store: ObjectStore, *, tenant: str, dataset: str, split: str, directory: Path
) -> tuple[str, list[LabelledRow]]:
    """Download all rows of one split, verified, by way of `directory`.

    Returns:
        The dataset's content hash, and the rows; none where it has no such split.

    Raises:
        NotFound, FailedPrecondition: As `find`.
        DataLoss: Where the file is missing or is not what the manifest says.
    """
    # Imported here: the API process never reads rows.
    from pyarrow import parquet  # noqa: PLC0415

    manifest = _manifest(store, tenant, dataset)
    rows: list[LabelledRow] = []
    for part in manifest.splits:
        if _split_name(part) == split:
            path = directory / f"{split}.parquet"
            manifests.fetch(store, part.file, path)
            table = parquet.read_table(path, columns=["text", "labels"])
            path.unlink()
            texts, labels = (table.column(name).to_pylist() for name in ("text", "labels"))
            rows += [
                LabelledRow(text=text, labels=tuple(named))
                for text, named in zip(texts, labels, strict=True)
            ]
    return manifest.content_hash, rows


def note_use(store: ObjectStore, *, tenant: str, dataset: str, model: str) -> None:
    """Leave word that a model learns from a dataset."""
    store.put(layout.dataset_use(tenant, dataset, model), b"{}")


def forget_use(store: ObjectStore, *, tenant: str, dataset: str, model: str) -> None:
    """Take that word back."""
    store.delete(layout.dataset_use(tenant, dataset, model))


def _split_name(split: SplitFile) -> str:
    return SplitProto.Name(split.split).removeprefix("SPLIT_").lower()


def _manifest(store: ObjectStore, tenant: str, dataset: str) -> DatasetManifest:
    key = layout.dataset_manifest(tenant, dataset)
    if store.stat(key) is not None:
        return manifests.read_manifest(store, key, DatasetManifest)
    name = f"datasets/{dataset}"
    if any(True for _ in store.list(layout.dataset_prefix(tenant, dataset))):
        raise FailedPrecondition(
            f"{name} is not READY: it is uploading, validating or was refused; "
            f"`isogloss datasets show {name}` tells which. A refused one must be uploaded anew.",
            reason=Reason.DATASET_NOT_READY,
            metadata={"name": name},
        )
    # Ingest leaves nothing here before the first byte.
    raise NotFound(
        name,
        hint="It does not exist, or nothing was uploaded to it yet: `isogloss datasets list` "
        "shows what there is.",
    )


def _facts(dataset: str, manifest: DatasetManifest) -> Dataset:
    try:
        cleaning = cleaning_from_proto(manifest.options.cleaning)
    except ValueError as error:
        raise FailedPrecondition(
            f"datasets/{dataset} is cleaned in a way that this trainer does not know ({error}). "
            "Update the trainer to the ingest service's version.",
            reason=Reason.DATASET_UNSUITABLE,
            metadata={"name": f"datasets/{dataset}"},
        ) from error
    return Dataset(
        id=dataset,
        content_hash=manifest.content_hash,
        labels=tuple(manifest.labels),
        multi=manifest.label_mode == LabelMode.LABEL_MODE_MULTI,
        cleaning=cleaning,
    )


def _read_rows(path: Path, index: Mapping[str, int], *, multi: bool) -> Rows:
    # Imported here: the API process never reads rows.
    from pyarrow import parquet  # noqa: PLC0415

    columns = ["text", "labels"]
    if _GROUP in parquet.read_schema(path).names:
        columns.append(_GROUP)
    table = parquet.read_table(path, columns=columns)
    texts, named = (table.column(name).to_pylist() for name in ("text", "labels"))
    groups = table.column(_GROUP).to_pylist() if _GROUP in columns else [None] * len(texts)
    kept = [
        row
        for row, labels in enumerate(named)
        if (labels or multi) and all(label in index for label in labels)
    ]
    return Rows(
        texts=[texts[row] for row in kept],
        label_ids=[] if multi else [index[named[row][0]] for row in kept],
        label_sets=[tuple(index[label] for label in named[row]) for row in kept] if multi else None,
        groups=[groups[row] for row in kept],
    )
