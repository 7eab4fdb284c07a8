from __future__ import annotations

import json
from collections import UserList
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from isogloss import DatasetOptions, InvalidArgument, MissingPackage, Split
from isogloss.api.sources import spooled
from isogloss.api.tables import package, write_rows

TEXTS = ["late", 'said "so",\nthen left', "\N{LINE SEPARATOR}café"]
LABELS = ["negative", "positive", "négatif"]
COLUMNS: dict[str, Any] = {"text": TEXTS, "label": LABELS}
EXPECTED = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]


class Exported:
    """A table of no package that we know: it can only export itself."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def lines(table: object, path: Path, **options: Any) -> list[dict[str, object]]:  # noqa: ANN401
    file = path / "rows.jsonl"
    write_rows(table, file, split=Split.TRAIN, options=DatasetOptions(**options))
    return [json.loads(line) for line in file.read_bytes().split(b"\n") if line]


def generated() -> Iterator[tuple[str, str]]:
    yield from zip(TEXTS, LABELS, strict=True)


TABLES: dict[str, Callable[[], object]] = {
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas of arrow": lambda: pa.table(COLUMNS).to_pandas(types_mapper=pd.ArrowDtype),
    "categories": lambda: pd.DataFrame({**COLUMNS, "label": pd.Categorical(LABELS)}),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "arrow": lambda: pa.table(COLUMNS),
    "arrow, encoded": lambda: pa.table({**COLUMNS, "label": pa.array(LABELS).dictionary_encode()}),
    "arrow batches": lambda: pa.table(COLUMNS).to_reader(max_chunksize=2),
    "any export": lambda: Exported(pa.table(COLUMNS)),
    "pairs": lambda: list(zip(TEXTS, LABELS, strict=True)),
    "a generator": generated,
    "mappings": lambda: EXPECTED,
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_kind_of_table_is_the_same_rows(kind: str, tmp_path: Path) -> None:
    assert lines(TABLES[kind](), tmp_path) == EXPECTED


def test_a_row_is_a_line_whatever_its_text_holds(tmp_path: Path) -> None:
    lines(pd.DataFrame(COLUMNS), tmp_path)

    assert (tmp_path / "rows.jsonl").read_bytes().count(b"\n") == len(TEXTS)


MANY = [["late", "rude"], [], ["kind"]]


LISTED: dict[str, Callable[[], object]] = {
    "pandas": lambda: pd.DataFrame({"text": TEXTS, "label": MANY}),
    "numpy": lambda: pd.DataFrame({"text": TEXTS, "label": [np.array(m, object) for m in MANY]}),
    "polars": lambda: pl.DataFrame({"text": TEXTS, "label": MANY}),
    "arrow": lambda: pa.table({"text": TEXTS, "label": MANY}),
    "pairs": lambda: list(zip(TEXTS, map(tuple, MANY), strict=True)),
}


@pytest.mark.parametrize("kind", LISTED)
def test_lists_are_several_labels_and_none_is_legal(kind: str, tmp_path: Path) -> None:
    assert [row["label"] for row in lines(LISTED[kind](), tmp_path)] == MANY


def test_cells_without_a_value_are_null_and_numbers_stay_numbers(tmp_path: Path) -> None:
    cells: list[object] = [None, float("nan"), pd.NA, pd.NaT, np.int64(3), 2.5, np.bool_(1)]
    more: list[object] = [date(2026, 1, 2), Decimal("1.50")]

    found = lines([("x", cell) for cell in cells + more], tmp_path)

    assert [row["label"] for row in found] == [
        *[None] * 4,
        3,
        2.5,
        True,
        "2026-01-02",
        "1.50",
    ]


def test_columns_that_nobody_asked_for_are_not_sent(tmp_path: Path) -> None:
    table = pd.DataFrame({"vector": [b"\0"], "body": ["late"], "tag": ["bad"], "id": ["7"]})

    found = lines(table, tmp_path, text_column="body", label_column="tag", keep_columns=("id",))

    assert found == [{"body": "late", "tag": "bad", "id": "7"}]


def test_numbers_of_columns_mean_the_table_as_it_is(tmp_path: Path) -> None:
    [row] = lines(pl.DataFrame({"a": ["x"], "b": ["y"], "c": ["z"]}), tmp_path, text_column="2")

    assert list(row) == ["a", "b", "c"]


WRONG: dict[str, tuple[object, str]] = {
    "number": (7, "int is no table"),
    "single": (["late"], "row 1 .* it is no .text, label. pair"),
    "triple": ([("late", "bad"), ("a", "b", "c")], "row 2 .* it is no .text, label. pair"),
    "bytes": ([("late", b"bad")], "row 1 .* a value of type bytes"),
    "missing": ([{"text": "a", "label": "b"}, {"text": "a"}], "row 2 .* 'label' is missing"),
    "more": ([{"text": "a"}, {"text": "a", "id": 1}], "row 2 .* 'id' is not in the first row"),
    "twice": (pa.table([["a"], ["b"]], names=["text", "text"]), "columns are named 'text'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_table_is_refused_by_its_row(kind: str, tmp_path: Path) -> None:
    table, message = WRONG[kind]

    with pytest.raises(InvalidArgument, match=f"train: .*{message}") as refused:
        lines(table, tmp_path)

    assert refused.value.violations[0].field == "train"


def test_tables_say_what_they_are_and_files_are_left_as_they_are(tmp_path: Path) -> None:
    pairs = UserList([("late", "bad")])
    file = tmp_path / "test.csv"

    paths, options = spooled(
        {Split.TRAIN: pairs, Split.TEST: None}, DatasetOptions(), str(tmp_path)
    )
    mixed, unsaid = spooled({Split.TRAIN: pairs, Split.TEST: file}, DatasetOptions(), str(tmp_path))

    assert paths == {Split.TRAIN: tmp_path / "train.jsonl"}
    assert options.format == "jsonl"
    assert mixed[Split.TEST] == file
    assert unsaid.format is None


def test_a_table_cannot_be_sent_as_something_else(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"format: .*JSON lines"):
        spooled({Split.TRAIN: [("a", "b")]}, DatasetOptions(format="csv"), str(tmp_path))


def test_a_package_that_is_missing_is_named_with_how_to_get_it() -> None:
    with pytest.raises(MissingPackage, match=r"pip install never_was$") as missing:
        package("never_was", "for to_never_was")

    assert isinstance(missing.value, ImportError)
