"""Files of predictions, also of strangers."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import pyarrow as pa
import pytest
from pyarrow import parquet

from services.trainer.evaluation import predictions


def file(**columns: object) -> bytes:
    rows = 3
    whole: Mapping[str, object] = {
        "digest": pa.array([bytes(16)] * rows, pa.binary(16)),
        "occurrence": pa.array(range(rows), pa.int32()),
        "labels": [["a"], ["a", "b"], []],
        "predicted": [["b"], ["a", "b"], ["a"]],
    }
    written = BytesIO()
    kept = {name: column for name, column in {**whole, **columns}.items() if column is not None}
    parquet.write_table(pa.table(kept), written, compression="zstd")
    return written.getvalue()


def test_rows_with_the_same_labels_share_them() -> None:
    read = predictions.read(file())

    assert read.labels == (("a",), ("a", "b"), ())
    assert read.labels[1] is read.predicted[1]
    assert len(set(read.keys)) == 3


def test_a_small_file_of_huge_rows_is_refused() -> None:
    rows, label = 10_000, 20_000 * "x"
    content = file(
        digest=pa.array([bytes(16)] * rows, pa.binary(16)),
        occurrence=pa.array(range(rows), pa.int32()),
        labels=[[label]] * rows,
        predicted=[["a"]] * rows,
    )

    assert len(content) < 1 << 20
    with pytest.raises(predictions.Unreadable, match="too large"):
        predictions.read(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PAR1", "cannot be read"),
        (file(labels=None), "no column 'labels'"),
        (file(occurrence=["one", "two", "three"]), "cannot be read"),
        (file(labels=[1, 2, 3]), "cannot be read"),
        (file(occurrence=[-1, 0, 1]), "cannot be read"),
    ],
)
def test_what_is_no_file_of_predictions_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(predictions.Unreadable, match=says):
        predictions.read(content)
