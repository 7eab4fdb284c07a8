from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest

from services.ingest.dataset import (
    DatasetOptions,
    Format,
    Limits,
    Records,
    Split,
    SplitOptions,
    UploadedFile,
)
from services.ingest.finding import Code, FindingWriter, Refused
from services.ingest.reading.front_check import check_file
from services.ingest.workbench import DiskFailed
from tests.unit.ingest.check import FrontCheck, front_check


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "file.parquet")


class Written:
    """Writes the rows of a query."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, query: str) -> bytes:
        with duckdb.connect() as connection:
            connection.sql(query).write_parquet(str(self._path))
        return self._path.read_bytes()


def read(content: bytes, **options: object) -> FrontCheck:
    return front_check(content, options=DatasetOptions(**options))  # type: ignore[arg-type]  # a test's


def code_of(content: bytes, **options: object) -> Code:
    with pytest.raises(Refused) as raised:
        read(content, **options)
    return raised.value.findings[0].code


def test_texts_and_labels_of_any_scalar_type_are_read(written: Written) -> None:
    content = written(
        "SELECT * FROM (VALUES ('one, \"1\"', 1), (NULL, 2), ('three', NULL)) AS t(text, label)"
    )

    result = read(content)

    assert result.examples() == [('one, "1"', "1"), ("", "2")]
    assert result.findings == [("empty_label", 3, 3)]
    assert result.checked.dialect.format is Format.PARQUET
    assert result.checked.rows_read == 3


@pytest.mark.parametrize(("value", "shown"), [("true", "true"), ("1.0::DOUBLE", "1.0")])
def test_labels_are_written_as_people_write_them(written: Written, value: str, shown: str) -> None:
    # The query is the test's own.
    content = written(f"SELECT 'a' AS text, {value} AS label")

    assert read(content).examples() == [("a", shown)]


def test_lists_make_labels_many(written: Written) -> None:
    content = written("SELECT 'a' AS text, ['x', 'y'] AS labels UNION ALL SELECT 'b', []")

    assert sorted(read(content).examples()) == [("a", "x\x1fy"), ("b", "")]


def test_only_what_is_wanted_is_read(written: Written) -> None:
    content = written(
        "SELECT range AS id, {'a': range} AS odd, 'text ' || range AS \"my text\", "
        "'l' || range % 2 AS y, 'train' AS part FROM range(3000)"
    )

    result = read(
        content,
        text_column="my text",
        label_column="y",
        keep_columns=("id",),
        split=SplitOptions(column="part"),
    )

    assert result.rows()[2999] == ("text 2999", "l1", "2999", "train")
    assert result.places[-1] == (3000, 3000)
    assert result.checked.dialect.ignored_columns == ("odd",)


def test_times_with_a_zone_are_carried_along(written: Written) -> None:
    content = written(
        "SELECT TIMESTAMPTZ '2024-05-01 12:00:00+02' AS at, 'a' AS text, 'b' AS label, 1 AS n"
    )

    result = read(content, text_column="text", label_column="label", keep_columns=("n", "at"))

    assert result.rows() == [("a", "b", "1", "2024-05-01 10:00:00+00")]


def test_bytes_are_texts_where_they_are_utf8(written: Written) -> None:
    content = written(
        "SELECT encode('né ' || range) AS text, encode('b') AS label, '\\xFF'::BLOB AS picture "
        "FROM range(20)"
    )

    result = read(content, text_column="text", label_column="label")

    assert result.examples()[0] == ("né 0", "b")
    with pytest.raises(Refused, match="`picture` holds bytes that are not UTF-8"):
        read(content, text_column="text", label_column="label", keep_columns=("picture",))


def test_one_text_that_is_not_utf8_costs_its_row(written: Written) -> None:
    content = written(
        "SELECT if(range = 3, '\\xFF'::BLOB, encode('text')) AS text, 'b' AS label FROM range(20)"
    )

    assert read(content).findings == [("bad_encoding", 4, 4)]


def test_a_number_that_is_missing_is_no_label(written: Written) -> None:
    content = written("SELECT 'a' AS text, unnest([1.0::DOUBLE, 'nan'::DOUBLE]) AS label")

    result = read(content)

    assert result.examples() == [("a", "1.0")]
    assert result.findings == [("empty_label", 2, 2)]


@pytest.mark.parametrize("value", ["now()", "[now()]"])
def test_times_are_no_texts(written: Written, value: str) -> None:
    assert code_of(written(f"SELECT {value} AS text, 'b' AS label")) is Code.UNSUPPORTED_FORMAT


def test_an_index_of_pandas_has_to_be_chosen_against_like_any_column(written: Written) -> None:
    content = written("SELECT 'a' AS text, 'b' AS label, 1 AS __index_level_0__")

    assert code_of(content) is Code.CHOOSE_COLUMNS


def test_a_type_that_is_no_text_is_refused(written: Written) -> None:
    assert code_of(written("SELECT {'a': 1} AS text, 'b' AS label")) is Code.UNSUPPORTED_FORMAT


def test_columns_are_looked_for_by_name(written: Written) -> None:
    assert code_of(written("SELECT 'a' AS text, 'b' AS label"), text_column="t") is (
        Code.MISSING_COLUMN
    )


@pytest.mark.parametrize("size", [4, 100, -1])
def test_a_file_that_is_cut_off_is_refused(written: Written, size: int) -> None:
    content = written("SELECT 'text ' || range AS text, 'a' AS label FROM range(3000)")

    assert code_of(content[:size]) is Code.CORRUPT_FILE


@pytest.mark.parametrize("offset", [50, 500, -300, -60, -9])
def test_a_damaged_file_is_refused_or_read(written: Written, offset: int) -> None:
    content = bytearray(written("SELECT 'text ' || range AS text, 'a' AS label FROM range(3000)"))
    content[offset] ^= 0xFF
    code = Code.CORRUPT_FILE
    try:
        read(bytes(content))
    except Refused as refused:
        code = refused.findings[0].code

    assert code in {Code.CORRUPT_FILE, Code.CHOOSE_COLUMNS, Code.COLUMN_COUNT}


def test_what_is_declared_to_be_parquet_has_to_be() -> None:
    assert code_of(b"a,b\n", format=Format.PARQUET) is Code.CORRUPT_FILE


def test_it_may_be_compressed_once_more(written: Written) -> None:
    content = gzip.compress(written("SELECT 'a' AS text, 'b' AS label"))

    assert read(content).examples() == [("a", "b")]


def test_what_fails_behind_the_reading_is_no_fault_of_the_file(
    written: Written, tmp_path: Path
) -> None:
    content = written("SELECT 'a text' AS text, 'a' AS label")

    def fail(_records: Records) -> None:
        raise DiskFailed("No space left")

    with FindingWriter(tmp_path / "findings.csv") as findings, pytest.raises(DiskFailed):
        check_file(
            UploadedFile(size_bytes=len(content), chunks=lambda: [content]),
            split=Split.TRAIN,
            options=DatasetOptions(),
            limits=Limits(),
            directory=tmp_path,
            take=fail,
            forget=lambda: None,
            findings=findings,
        )
