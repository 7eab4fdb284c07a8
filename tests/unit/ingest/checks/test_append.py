from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from services.ingest.checks.rulebook import Parent
from services.ingest.dataset import DatasetOptions, Split
from tests.messages import as_csv
from tests.unit.ingest.check import validated

TRAIN, VALIDATION, TEST = Split
_OLD = {
    TRAIN: [(f"old message {n}", str(n % 2)) for n in range(12)],
    VALIDATION: [("old held out", "0"), ("where is my new card today", "1")],
    TEST: [("old and tested", "1")],
}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Parent:
    """A dataset of fifteen rows, with a column that was carried along."""
    directory: Path = tmp_path_factory.mktemp("parent")
    paths = {}
    with duckdb.connect() as connection:
        for split, rows in _OLD.items():
            paths[split] = directory / f"{split}.parquet"
            connection.execute(
                "CREATE OR REPLACE TABLE old (text VARCHAR, labels VARCHAR[], row BIGINT, "
                'line BIGINT, "group" BIGINT, origin VARCHAR)'
            )
            connection.executemany(
                "INSERT INTO old VALUES (?, [?], ?, ?, NULL, 'mail')",
                [(text, label, n + 1, n + 5) for n, (text, label) in enumerate(rows)],
            )
            connection.table("old").write_parquet(str(paths[split]))
    return Parent(
        name="datasets/old",
        content_hash="abc",
        multi_label=False,
        given=frozenset({TRAIN}),
        splits=paths,
    )


def _new(count: int = 20) -> list[tuple[str, str]]:
    return [(f"some fresh text of number {n}", str(n % 2)) for n in range(count)]


def test_the_rows_of_the_parent_come_first_and_stay_where_they_were(parent: Parent) -> None:
    result = validated(b"text,label\n" + as_csv(tuple(_new())), parent=parent)

    for split, rows in _OLD.items():
        expected = [(text, label, n + 1, n + 5) for n, (text, label) in enumerate(rows)]
        assert result.rows[split][: len(rows)] == expected
        assert {row["origin"] for row in result.tables[split]} <= {"mail", None}
    fresh = {row[0] for part in result.rows.values() for row in part if "fresh" in row[0]}
    assert fresh == {text for text, _ in _new()}
    assert len(result.rows[TEST]) == 1 + 2


def test_what_the_parent_holds_already_is_dropped(parent: Parent) -> None:
    again = [("old message 3", "1"), ("old message 4", "1"), ("old and tested", "1")]
    content = b"text,label\n" + as_csv((*_new(), *again))

    result = validated(content, parent=parent)

    dropped = [(f["code"], f["line"]) for f in result.findings if f["severity"] == 3]
    assert dropped == [("duplicate", 22), ("conflicting_labels", 23), ("duplicate", 24)]
    (message, *_) = (f["message"] for f in result.findings if f["code"] == "duplicate")
    assert "line 8 of the train file that datasets/old was made of" in message
    kept = sum(map(len, result.rows.values()))
    assert kept == 15 + 20
    assert result.verdict.report.dropped_rows == 3


def test_a_text_close_to_one_of_the_parent_goes_where_that_is(parent: Parent) -> None:
    content = b"text,label\n" + as_csv((*_new(), ("Where is my new card - today?", "1")))

    result = validated(content, parent=parent)

    assert "Where is my new card - today?" in {row[0] for row in result.rows[VALIDATION]}


def test_the_hash_depends_on_the_parent(parent: Parent) -> None:
    content = b"text,label\n" + as_csv(tuple(_new()))

    alone, child = validated(content), validated(content, parent=parent)

    assert alone.verdict.content_hash != child.verdict.content_hash


def test_columns_of_both_are_carried_along(parent: Parent) -> None:
    rows = "".join(f"{text},{label},high\n" for text, label in _new())
    options = DatasetOptions(text_column="text", label_column="label", keep_columns=("urgency",))

    result = validated(f"text,label,urgency\n{rows}".encode(), options=options, parent=parent)

    found = {(row["origin"], row["urgency"]) for row in result.tables[TRAIN]}
    assert found == {("mail", None), (None, "high")}
