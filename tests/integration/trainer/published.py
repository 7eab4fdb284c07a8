"""A small validated dataset, left in a store as ingest leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest, SplitFile
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.dataset_pb2 import DatasetOptions
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.split_pb2 import Split
from services.common import layout, manifests
from services.common.storage import ObjectStore

CONTENT_HASH = "c0ffee" * 10 + "cafe"

_SUBJECTS = ("order", "card", "account", "app", "payment", "refund", "box", "delivery")
POST = "post"
"""The further label of some texts, in a dataset of several labels a text."""

_TONES = {
    "angry": ("is terrible", "was awful and late", "is the worst", "broken again", "lost again"),
    "happy": ("is great", "was perfect", "is the best", "arrived fast thanks", "love it"),
    "plain": ("where is it", "when will it be", "how do i do it", "is it new", "was it charged"),
}


def rows(labels: Sequence[str], *, prefix: str) -> list[tuple[str, str]]:
    """Return 40 distinct texts a label."""
    return [
        (f"{prefix} {subject} {phrase}", label)
        for label in labels
        for subject in _SUBJECTS
        for phrase in _TONES[label]
    ]


def several(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Give each text any number of labels: its tone unless that is plain, and `post` for goods."""
    return [
        (
            text,
            [tone for tone in (label,) if tone != "plain"]
            + [POST for subject in _SUBJECTS[5:] if f" {subject} " in text],
        )
        for text, label in pairs
    ]


def publish_dataset(
    store: ObjectStore,
    scratch: Path,
    *,
    dataset: str = "tone-aaaaaa",
    tenant: str = "default",
    labels: Sequence[str] = ("angry", "happy", "plain"),
    test: bool = True,
    cleaning: Cleaning | None = None,
    label_mode: LabelMode.ValueType = LabelMode.LABEL_MODE_SINGLE,
) -> str:
    """Publish the dataset and return its full name."""
    multi = label_mode == LabelMode.LABEL_MODE_MULTI
    named = [*(label for label in labels if label != "plain"), POST] if multi else labels
    splits = {
        Split.SPLIT_TRAIN: rows(labels, prefix="my"),
        Split.SPLIT_VALIDATION: rows(labels, prefix="the")[::3],
    }
    if test:
        splits[Split.SPLIT_TEST] = rows(labels, prefix="your")[::2]
    manifest = DatasetManifest(
        format_version=manifests.FORMAT_VERSION,
        name=f"datasets/{dataset}",
        display_name="Tone",
        content_hash=CONTENT_HASH,
        options=DatasetOptions(cleaning=cleaning),
        label_mode=label_mode,
        labels=sorted(named),
    )
    for split, pairs in splits.items():
        name = f"{Split.Name(split).removeprefix('SPLIT_').lower()}.parquet"
        table = pa.table(
            {
                "text": [text for text, _ in pairs],
                "labels": (
                    [found for _, found in several(pairs)]
                    if multi
                    else [[label] for _, label in pairs]
                ),
                "row": pa.array(range(len(pairs)), pa.int64()),
                "line": pa.array(range(1, len(pairs) + 1), pa.int64()),
            }
        )
        parquet.write_table(table, scratch / name)
        key = layout.dataset_file(tenant, dataset, CONTENT_HASH, name)
        file = manifests.upload(store, key, scratch / name)
        manifest.splits.append(SplitFile(split=split, file=file, row_count=len(pairs)))
    manifests.create_manifest(store, layout.dataset_manifest(tenant, dataset), manifest)
    return manifest.name
