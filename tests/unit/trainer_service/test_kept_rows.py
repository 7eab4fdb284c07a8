from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format

from isogloss.storage.v1.example_texts_pb2 import ExampleTexts
from services.common import manifests, neighbours
from services.common.storage import ObjectStore, open_store
from services.trainer import kept_rows
from services.trainer.datasets import Rows
from services.trainer.learning.nearness import Neighbourhood


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


def training(texts: Sequence[str], label_sets: list[tuple[int, ...]] | None = None) -> Rows:
    return Rows(
        texts=list(texts),
        label_ids=[] if label_sets else [number % 2 for number in range(len(texts))],
        label_sets=label_sets,
        groups=[None] * len(texts),
    )


def found(*rows: int) -> Neighbourhood:
    return Neighbourhood(
        known=np.array(rows),
        vectors=np.eye(len(rows), 4, dtype=np.float32),
        nearest=1,
        held_out_cosines=np.linspace(0, 1, 101, dtype=np.float32),
    )


def kept(store: ObjectStore, train: Rows, which: Neighbourhood) -> neighbours.NeighbourRows:
    told = kept_rows.upload(store, vectors="runs/", texts="examples/", train=train, found=which)
    assert (told.rows, told.nearest, len(told.held_out_cosines)) == (len(which.known), 1, 101)
    content = b"".join(manifests.verified(store, told.vectors))
    return neighbours.read(content, rows=told.rows, dimension=4, labels=3)


def test_texts_lie_apart_from_vectors_each_cut(store: ObjectStore) -> None:
    train = training(["first", "second", "ж" * 501])

    rows = kept(store, train, found(0, 2))

    assert rows.rows.tolist() == [0, 2]
    assert rows.label_ids.tolist() == [0, 0]
    assert [item.key for item in store.list("")] == [
        "examples/neighbours.json",
        "runs/neighbours.safetensors",
    ]
    content = b"".join(store.get("examples/neighbours.json"))
    texts = json_format.Parse(content, ExampleTexts()).train
    assert dict(texts) == {0: "first", 2: "ж" * 500}
    # Two bytes a letter, as it is: an import takes so many and no more.
    assert len(content) < 1100


def test_a_row_may_have_any_number_of_labels(store: ObjectStore) -> None:
    train = training(["first", "second", "third", "last"], [(2, 0), (), (1,), (0, 1, 2)])

    rows = kept(store, train, found(0, 1, 3))

    assert rows.label_ids.tolist() == [2, 0, 0, 1, 2]
    assert rows.label_ends.tolist() == [2, 2, 5]
