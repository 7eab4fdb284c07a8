from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from services.common.neighbours import NeighbourRows, read, write

DIMENSION = 4
LABELS = 3


def kept() -> NeighbourRows:
    """Return three rows: of one label, of none, and of two."""
    vectors = np.random.default_rng(0).normal(size=(3, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return NeighbourRows(
        vectors=vectors.astype(np.float16),
        rows=np.array([0, 4, 9], np.int64),
        label_ids=np.array([2, 0, 1], np.int32),
        label_ends=np.array([1, 1, 3], np.int32),
    )


def test_what_is_written_is_read() -> None:
    content = write(kept())
    found = read(content, rows=3, dimension=DIMENSION, labels=LABELS)

    assert write(found) == content
    assert np.array_equal(found.vectors, kept().vectors)
    assert found.label_ids.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"vectors": kept().vectors * np.float16(2)}, "length 1"),
        ({"vectors": np.full((3, DIMENSION), np.nan, np.float16)}, "length 1"),
        ({"vectors": kept().vectors.astype(np.float32)}, "vectors of float32"),
        ({"vectors": kept().vectors[:, 1:]}, "shape"),
        ({"rows": np.array([0, 4], np.int64)}, "rows of int64 and shape"),
        ({"rows": np.array([-1, 4, 9], np.int64)}, "ascend"),
        ({"rows": np.array([0, 4, 4], np.int64)}, "ascend"),
        ({"label_ids": np.array([2, 0, 3], np.int32)}, "the model has not"),
        ({"label_ids": np.array([2, 0, -1], np.int32)}, "the model has not"),
        ({"label_ids": np.array([[2, 0, 1]], np.int32)}, "label_ids of int32 and shape"),
        ({"label_ends": np.array([1, 0, 3], np.int32)}, "ends of labels"),
        # Differences that wrap around.
        ({"label_ends": np.array([2**31 - 1, -2, 3], np.int32)}, "ends of labels"),
        ({"rows": np.array([2**63 - 1, -(2**63), 4], np.int64)}, "ascend"),
        (
            {"label_ids": np.zeros(4, np.int32), "label_ends": np.array([0, 0, 4], np.int32)},
            "more labels than the model has",
        ),
        ({"label_ends": np.array([1, 1, 2], np.int32)}, "labels of no row"),
    ],
)
def test_what_is_not_as_its_manifest_says_is_refused(
    changed: dict[str, np.ndarray], problem: str
) -> None:
    content = write(replace(kept(), **changed))

    with pytest.raises(ValueError, match=problem):
        read(content, rows=3, dimension=DIMENSION, labels=LABELS)


def test_what_is_no_such_file_is_refused() -> None:
    whole = write(kept())

    for content in (b"", b"rubbish" * 10, whole[:-1]):
        with pytest.raises(ValueError, match="safetensors"):
            read(content, rows=3, dimension=DIMENSION, labels=LABELS)
    with pytest.raises(ValueError, match="has no label_ends"):
        read(save({"vectors": kept().vectors}), rows=3, dimension=DIMENSION, labels=LABELS)
