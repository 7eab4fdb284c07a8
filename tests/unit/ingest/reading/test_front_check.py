from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.dataset import DatasetOptions, Format, Limits
from services.ingest.finding import Code, Refused
from tests.unit.ingest.check import front_check

REGULAR = b"one,a\ntwo,b\nthree,a\n" * 10


def refusal(content: bytes, **settings: object) -> tuple[str, int, str]:
    with pytest.raises(Refused) as raised:
        front_check(content, **settings)  # type: ignore[arg-type]  # a test's settings
    finding = raised.value.findings[0]
    return finding.code, finding.line, f"{finding.message} {finding.fix}"


def test_regular_records_pass_unchanged() -> None:
    content = b'plain,a\n"quoted, with comma",b\n"says ""hi""","c"\n' * 3

    result = front_check(content)

    assert result.records == content
    assert (result.checked.rows_read, result.checked.rows_kept) == (9, 9)
    assert result.findings == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
def test_line_ends_inside_and_outside_quotes_become_lf(end: bytes, chunk: int) -> None:
    lines = [b"text,label", b'"first', b'second",a', b"third,b", b"fourth,a"]

    result = front_check(end.join(lines), chunk=chunk)

    assert result.records == b'"first\nsecond",a\nthird,b\nfourth,a\n'
    assert result.findings == []


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_blank_lines_that_end_in_cr_are_skipped(chunk: int) -> None:
    result = front_check(b"one,a\r\rtwo,b\r\r" * 10, chunk=chunk)

    assert result.records == b"one,a\ntwo,b\n" * 10
    assert result.places[:3] == [(1, 1), (2, 3), (3, 5)]


def test_mixed_line_ends_are_read_and_told() -> None:
    result = front_check(b"one,a\r\ntwo,b\nthree,a\rfour,b\n")

    assert result.checked.rows_kept == 4
    assert [code for code, *_ in result.findings] == ["mixed_line_ends"]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"PK\x03\x04\x14\x00[Content_Types].xml", "Excel workbook"),
        (b"PK\x03\x04\x14\x00data.csv", "zip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel workbook"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\n<!DOCTYPE html>\n<html>", "HTML"),
        (b'[\n{"text": "a"}\n]', "jq -c '.[]'"),
        (b'[{"text": "a", "label": "b"}]', "jq -c '.[]'"),
        (b'{\n "text": "a"\n}', "JSON over several lines"),
        (b"INSERT INTO `t` (text, label) VALUES ('a','b'),('c','d');\n", "SQL script"),
        (b"-- MySQL dump\n/*!40101 SET NAMES utf8 */;\nDROP TABLE IF EXISTS `t`;\n", "SQL"),
        (b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", "SQL script"),
        (b"--\n-- PostgreSQL database dump\n--\n\nSET timeout = 0;\n", "\\copy"),
        (b"create table t (\n  text varchar,\n", "SQL script"),
    ],
)
def test_other_formats_are_named(head: bytes, words: str) -> None:
    code, _, text = refusal(head)

    assert code == Code.UNSUPPORTED_FORMAT
    assert words in text


def test_any_number_of_blank_lines_may_come_first_and_a_bounded_one_is_held() -> None:
    result = front_check(b"\n" * 5000 + b"text,label\none,a\ntwo,b\n" * 2, head_bytes=1000)

    assert result.checked.dialect.has_header
    assert result.places[0] == (1, 5002)
    assert "more than 16777216 bytes of blank" in refusal(b" \n" * (9 << 20) + b"one,a\n")[2]


@pytest.mark.parametrize(
    "text",
    [
        "[[a link]] and more",
        "[x] and {y}",
        "<html> in <b>texts</b>",
        "CREATE TABLE messages (",
    ],
)
def test_texts_may_look_like_other_formats(text: str) -> None:
    content = f"{text},a\nother,b\n".encode()

    result = front_check(content, options=DatasetOptions(format=Format.CSV))

    assert result.examples()[0] == (text, "a")


@pytest.mark.parametrize(
    "text", ["[[a link]] and more", "Insert into my values", "begin; or not", "drop table x; --"]
)
def test_a_few_characters_make_no_other_format(text: str) -> None:
    assert front_check(f"{text},a\nother,b\n".encode()).checked.rows_kept == 2


def test_a_character_cut_by_a_chunk_is_whole_again() -> None:
    content = "prêt à porter,a\n".encode() * 5

    assert front_check(content, chunk=1).records == content


@pytest.mark.parametrize("chunk", [1, 10, 1 << 20])
def test_a_nul_byte_costs_its_row(chunk: int) -> None:
    result = front_check(REGULAR + b"t\x00wo,b\nlast,a\n", chunk=chunk)

    assert result.findings == [("nul_byte", 31, 31)]
    assert result.places[-1] == (32, 32)


@pytest.mark.parametrize("chunk", [5, 64, 1 << 20])
def test_a_forgotten_quote_is_named_where_it_opens(chunk: int) -> None:
    content = REGULAR + b'"opened and never closed,a\n' + b'x,a\n"quoted, later",b\n' * 20

    code, line, text = refusal(content, chunk=chunk)

    assert (code, line) == (Code.UNTERMINATED_QUOTE, 31)
    assert "line 31" in text


def test_a_forgotten_quote_is_found_before_the_file_fills_the_memory() -> None:
    content = REGULAR + b'"opened,a\n' + b"x" * 5000 + b",a\n"

    code, line, _ = refusal(content, limits=Limits(max_record_bytes=1000), chunk=64, head_bytes=100)

    assert (code, line) == (Code.UNTERMINATED_QUOTE, 31)


@pytest.mark.parametrize("chunk", [100, 64 << 10])
@pytest.mark.parametrize("length", [1000, 5000, 3 << 20])
def test_a_line_that_is_too_long_costs_its_row(length: int, chunk: int) -> None:
    content = REGULAR + b"x" * length + b",a\nlast,b\n"

    result = front_check(content, limits=Limits(max_record_bytes=1000), chunk=chunk, head_bytes=99)

    assert result.findings == [("line_too_long", 31, 31)]
    assert result.examples()[-1] == ("last", "b")
    assert result.places[-1] == (32, 32)


def test_a_file_without_line_ends_is_refused() -> None:
    code, line, text = refusal(b"x" * 5000, limits=Limits(max_record_bytes=1000), head_bytes=99)

    assert (code, line) == (Code.LINE_TOO_LONG, 1)
    assert "line ends are missing" in text


def test_irregular_rows_become_findings_and_the_others_keep_their_lines() -> None:
    content = (
        REGULAR
        + b'"two\nlines",a\n'  # 31
        + b"\n"  # 33
        + b"no label\n"  # 34
        + b"a,b,c\n"  # 35
        + b' "blank before",b\n'  # 36
        + b'5" nails,a\n'  # 37
        + b'"He said "hi" to me",a\n'  # 38
        + b"last,b\n"  # 39
    )

    result = front_check(content)

    assert result.findings == [
        ("wrong_column_count", 34, 32),
        ("wrong_column_count", 35, 33),
        ("stray_quote", 37, 35),
        ("malformed_quotes", 38, 36),
        ("blank_lines", 0, 0),
    ]
    tail = list(csv.reader(io.StringIO(result.records.decode())))[30:]
    assert tail == [["two\nlines", "a"], ["blank before", "b"], ['5" nails', "a"], ["last", "b"]]
    assert result.checked.rows_read == 37


def test_a_misplaced_quote_behind_many_quoted_cells_is_found_at_once() -> None:
    good, bad = b'"a",' * 31 + b'"b"\n', b'"a",' * 31 + b'"b"x\n'
    options = DatasetOptions(text_column="1", label_column="32")

    code, line, _ = refusal(good * 20 + bad + good, options=options)

    assert (code, line) == (Code.UNTERMINATED_QUOTE, 21)


def test_a_file_of_malformed_rows_is_refused_with_the_first() -> None:
    code, line, text = refusal(b"a,b\n" * 80 + b"a,b,c\n" * 20)

    assert (code, line) == (Code.TOO_MANY_MALFORMED_ROWS, 81)
    assert "20 of 100 rows" in text


def test_more_rows_than_allowed_are_refused() -> None:
    code, *_ = refusal(REGULAR, limits=Limits(max_rows=29))

    assert code == Code.TOO_MANY_ROWS


def test_a_quote_that_swallows_rows_until_another_closes_it_is_suspected() -> None:
    content = REGULAR + b'"opened,a\n' + b"x,b\n" * 20 + b'and five inches",a\n'

    assert ("suspicious_quote", 31, 31) in front_check(content).findings


cells = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(cells, cells), min_size=1),
    delimiter=st.sampled_from(",;\t|"),
    chunk=st.integers(1, 50),
)
def test_what_a_csv_writer_quotes_comes_back_as_it_was(
    rows: list[tuple[str, str]], delimiter: str, chunk: int
) -> None:
    rows = [("text", "label"), *rows]
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        rows
    )

    result = front_check(
        buffer.getvalue().encode(),
        options=DatasetOptions(delimiter=delimiter, has_header=True),
        chunk=chunk,
    )

    assert result.checked.rows_kept == len(rows) - 1
    back = csv.reader(io.StringIO(result.records.decode(), newline=""), delimiter=delimiter)
    assert [tuple(row) for row in back] == rows[1:]
