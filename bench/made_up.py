"""Made-up labelled rows, any number of them, left in a store as ingest leaves a validated dataset.

Half of a text's words are words of its label, so that there is something to learn.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest, SplitFile
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.split_pb2 import Split
from services.common import layout, manifests
from services.common.storage import ObjectStore

CONTENT_HASH = "0" * 64

_LABEL_WORDS = 20
_SYLLABLES = ("ba", "cor", "di", "fen", "gu", "la", "mi", "nor", "pe", "sul", "ta", "ver")
_BLOCK = 50_000
# Rows in memory at once.

_SCHEMA = pa.schema({"text": pa.string(), "labels": pa.list_(pa.string())})


def publish_rows(
    store: ObjectStore,
    *,
    tenant: str,
    dataset: str,
    sizes: Mapping[Split.ValueType, int],
    labels: int,
    words: int,
) -> None:
    """Publish a dataset of texts with one label each.

    Args:
        store: Where to.
        tenant: Whose.
        dataset: Its bare id.
        sizes: Rows of each split.
        labels: How many there are; each stands as often as the others, about.
        words: Of each text, some three tokens each.
    """
    manifest = DatasetManifest(
        format_version=manifests.FORMAT_VERSION,
        name=f"datasets/{dataset}",
        content_hash=CONTENT_HASH,
        label_mode=LabelMode.LABEL_MODE_SINGLE,
        labels=[f"label {number:04}" for number in range(labels)],
    )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "rows.parquet"
        for split, size in sizes.items():
            with parquet.ParquetWriter(path, _SCHEMA) as writer:
                for block in _blocks(size, list(manifest.labels), words, seed=int(split)):
                    writer.write_table(block)
            key = layout.dataset_file(tenant, dataset, CONTENT_HASH, f"{split}.parquet")
            file = manifests.upload(store, key, path)
            manifest.splits.append(SplitFile(split=split, file=file, row_count=size))
    manifests.create_manifest(store, layout.dataset_manifest(tenant, dataset), manifest)


def _blocks(size: int, labels: list[str], length: int, *, seed: int) -> Iterator[pa.Table]:
    words = ["".join(parts) for parts in itertools.product(_SYLLABLES, repeat=3)]
    draw = random.Random(0)  # noqa: S311  # a benchmark, no secret
    own = {label: draw.sample(words, _LABEL_WORDS) for label in labels}
    draw.seed(seed)
    for start in range(0, size, _BLOCK):
        given = draw.choices(labels, k=min(_BLOCK, size - start))
        texts = [
            " ".join(
                draw.choices(own[label], k=length // 2)
                + draw.choices(words, k=length - length // 2)
            )
            for label in given
        ]
        yield pa.table({"text": texts, "labels": [[label] for label in given]}, _SCHEMA)
