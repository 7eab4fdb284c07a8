from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench.made_up import CONTENT_HASH, publish_rows
from isogloss.v1.split_pb2 import Split
from services.common.storage import open_store
from services.trainer import datasets


def test_the_trainer_reads_what_is_made_up(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))

    publish_rows(
        store,
        tenant="acme",
        dataset="large-aaaaaa",
        sizes={Split.SPLIT_TRAIN: 400, Split.SPLIT_TEST: 100},
        labels=4,
        words=6,
    )
    dataset, rows = datasets.read(store, tenant="acme", dataset="large-aaaaaa", directory=tmp_path)

    assert dataset.content_hash == CONTENT_HASH
    assert {split: len(part) for split, part in rows.items()} == {"train": 400, "test": 100}
    assert Counter(rows["train"].label_ids).keys() == set(range(len(dataset.labels)))
    assert {len(text.split()) for text in rows["train"].texts} == {6}
    # A label has the same words in both splits: what is learnt of one is of use in the other.
    shared = [
        {
            word
            for text, label in zip(part.texts, part.label_ids, strict=True)
            if label == 0
            for word in text.split()[:3]
        }
        for part in rows.values()
    ]
    assert len(set.union(*shared)) <= 20
