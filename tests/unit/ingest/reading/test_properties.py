"""What holds for every file: no row is lost, no line is wrong, no piece of it matters."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.dataset import DatasetOptions, Format, Limits, Quoting
from services.ingest.finding import Code, Finding, Refused, Severity, severity_of
from tests.unit.ingest.check import FrontCheck, front_check

LENIENT = Limits(max_malformed_share=1.0, max_record_bytes=60)
LINES = [
    b"a,b",
    b'"a,b",c',
    b'"a\nb",c',
    b'"a\n\n""b""",c',
    b"",
    b" ",
    b"a",
    b"a,b,c",
    b"a,b,,",
    b'"a"b,c',
    b'"a "b" c",d',
    b' "a" ,b',
    b",",
    b'5" nail,b',
    b'"he said \\"x\\"",b',
    b"nul\x00,b",
    b"caf\xe9,b",
    b"caf\xc3\xa9,b",
    b"x" * 70 + b",b",
    b'"' + b"\n" * 12 + b'",b',
]
ENDS = [b"\n", b"\r\n", b"\r"]
JSON_LINES = [
    b'{"text": "a", "label": "b"}',
    b'{"text": "a", "label": ["b", "c"]}',
    b'{"text": "a", "label": []}',
    b'{"text": "a", "label": null}',
    b'{"text": "a"}',
    b'{"text": ["a"], "label": "b"}',
    b'{"text": "\\ud800", "label": "b"}',
    b'{"text": "\\u0000", "label": "b"}',
    b'{"text": 1.50, "label": true}',
    b'{"text": "caf\xe9", "label": "b"}',
    b'{"text": "a", "label": "b", "more": 1}',
    b'{"text": "' + b"x" * 70 + b'", "label": "b"}',
    b"[1]",
    b"{",
    b"",
    b"nothing",
]


def dropped(result: FrontCheck) -> list[tuple[int, int]]:
    """Return row and line of every row that a finding drops."""
    return [
        (row, line)
        for code, line, row in result.findings
        if severity_of(Code(code)) is Severity.ROW_DROPPED
    ]


def outcome(content: bytes, options: DatasetOptions, chunk: int) -> object:
    try:
        result = front_check(content, options=options, limits=LENIENT, chunk=chunk)
    except Refused as refused:
        return refused.findings
    return result.records, result.places, result.findings, result.checked.dialect


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(st.sampled_from(LINES), min_size=1, max_size=25),
    end=st.sampled_from(ENDS),
    quoting=st.sampled_from([Quoting.DOUBLED, Quoting.BACKSLASH, Quoting.NONE]),
    chunk=st.integers(1, 40),
)
def test_every_row_of_a_dirty_csv_is_kept_or_dropped_with_a_finding(
    lines: list[bytes], end: bytes, quoting: Quoting, chunk: int
) -> None:
    content = end.join([b"text,label", *lines])
    options = DatasetOptions(delimiter=",", quoting=quoting, encoding="utf-8")
    try:
        result = front_check(content, options=options, limits=LENIENT, chunk=chunk)
    except Refused:
        return
    rows = [row for row, _ in (*result.places, *dropped(result))]
    lines_ = [line for _, line in sorted((*result.places, *dropped(result)))]

    assert sorted(rows) == list(range(1, result.checked.rows_read + 1))
    assert lines_ == sorted(set(lines_))
    assert len(result.rows()) == result.checked.rows_kept == len(result.places)
    assert {len(row) for row in result.rows()} <= {result.layout.columns}


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(st.sampled_from(LINES), min_size=1, max_size=25),
    end=st.sampled_from(ENDS),
    encoding=st.sampled_from(["", "utf-8", "cp1252"]),
    chunk=st.integers(1, 40),
)
def test_the_size_of_the_pieces_changes_nothing(
    lines: list[bytes], end: bytes, encoding: str, chunk: int
) -> None:
    content = end.join([b"text,label", *lines])
    options = DatasetOptions(encoding=encoding)

    assert outcome(content, options, chunk) == outcome(content, options, 1 << 20)


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(st.sampled_from(JSON_LINES), min_size=1, max_size=25), chunk=st.integers(1, 40)
)
def test_every_row_of_dirty_json_lines_is_kept_or_dropped_with_a_finding(
    lines: list[bytes], chunk: int
) -> None:
    content = b"\n".join([b'{"text": "first", "label": "b"}', *lines])
    options = DatasetOptions(format=Format.JSONL, encoding="utf-8")
    limits = Limits(max_malformed_share=1.0, max_record_bytes=60)
    try:
        result = front_check(content, options=options, limits=limits, chunk=chunk)
    except Refused:
        # Where a row has a further key, the columns have to be chosen.
        assert any(b"more" in line for line in lines)
        return
    blank = sum(not line.strip() for line in lines)

    assert result.checked.rows_read == 1 + len(lines) - blank
    places = sorted((*result.places, *dropped(result)))
    assert [row for row, _ in places] == list(range(1, result.checked.rows_read + 1))
    assert [line for _, line in places] == [
        n for n, line in enumerate(content.split(b"\n"), 1) if line.strip()
    ]


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=200), chunk=st.integers(1, 40))
def test_any_bytes_are_read_or_refused_in_words(content: bytes, chunk: int) -> None:
    refusals: tuple[Finding, ...] = ()
    try:
        result = front_check(content, chunk=chunk)
    except Refused as refused:
        refusals = refused.findings
    else:
        assert len(result.rows()) == result.checked.rows_kept
    assert all(finding.message and finding.fix for finding in refusals)


COMPRESSIONS: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, zstandard.compress]
LETTERS = {
    "utf-8": "aé日😀",
    "utf-8-sig": "aé日😀",
    "utf-16": "aé日😀",
    "utf-16-le": "aé日😀",
    "utf-16-be": "aé日😀",
    "utf-32": "aé日😀",
    "cp1252": "aé€\N{EN DASH}",
    "latin-1": "aéß",
    "shift-jis": "aあ日ソ表",
    "iso-8859-7": "aβω",
    "gb18030": "a中😀",
}


@pytest.mark.parametrize("encoding", LETTERS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_written_in_an_encoding_and_compressed_comes_back(
    encoding: str, data: st.DataObject
) -> None:
    cells = st.text(alphabet=LETTERS[encoding] + ',"\n; x', max_size=8)
    rows = data.draw(st.lists(st.tuples(cells, cells), min_size=1, max_size=20))
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [("text", "label"), *rows]
    )
    content = buffer.getvalue().encode(encoding)
    compress = data.draw(st.sampled_from(COMPRESSIONS))
    middle = data.draw(st.integers(0, len(content)))
    packed = compress(content[:middle]) + compress(content[middle:])

    result = front_check(
        packed,
        options=DatasetOptions(encoding=encoding, delimiter=",", has_header=True),
        chunk=data.draw(st.integers(1, 60)),
    )

    assert result.rows() == rows
    assert codecs.lookup(result.checked.dialect.encoding) == codecs.lookup(encoding)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            st.lists(st.sampled_from(["a", "b,c", 'd"', "é"]), max_size=3),
        ),
        min_size=1,
    ),
    chunk=st.integers(1, 60),
)
def test_lists_of_labels_come_back(rows: list[tuple[str, list[str]]], chunk: int) -> None:
    content = "\n".join(
        json.dumps({"text": text, "labels": labels}, ensure_ascii=len(rows) % 2 == 0)
        for text, labels in rows
    )
    # Within a line JSON has no other line ends than escaped ones.
    result = front_check(content.encode(), options=DatasetOptions(format=Format.JSONL), chunk=chunk)

    assert [
        (text, labels.split("\x1f") if labels else []) for text, labels in result.examples()
    ] == rows
    assert result.layout.label_separator == "\x1f"
