from __future__ import annotations

import json

import pytest

from services.ingest.dataset import DatasetOptions, Format, Limits, SplitOptions
from services.ingest.finding import Code, Refused
from tests.unit.ingest.check import FrontCheck, front_check

GOOD = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(20)]


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read(content: bytes, **options: object) -> FrontCheck:
    return front_check(content, options=DatasetOptions(**options))  # type: ignore[arg-type]  # a test's


def test_json_lines_are_detected_whatever_the_file_is_called() -> None:
    result = read(lines(*GOOD))

    dialect = result.checked.dialect
    assert (dialect.format, dialect.text_column, dialect.label_column) == (
        Format.JSONL,
        "text",
        "label",
    )
    assert {"format", "text_column", "label_column"} <= set(dialect.assumed)
    assert result.examples() == [(row["text"], row["label"]) for row in GOOD]
    assert result.layout.label_separator == ""


def test_what_was_declared_to_be_csv_is_read_as_csv() -> None:
    with pytest.raises(Refused):
        read(lines({"text": "a, b", "label": "c"}) * 9, format=Format.CSV, delimiter=";")


def test_numbers_and_truths_stay_as_typed() -> None:
    content = (
        b'{"text": 1.50, "label": 1}\n{"text": true, "label": 1.0}\n{"text": 1e999, "label": false}'
    )

    assert read(content).examples() == [("1.50", "1"), ("true", "1.0"), ("1e999", "false")]


def test_nan_is_what_is_missing() -> None:
    result = read(lines(*GOOD, {"text": "a", "label": float("nan")}))

    assert result.findings == [("empty_label", 21, 21)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "a, b", "label": "x"},\n', "Extra data at character 31"),
        (b'{"text": "a, b", "label": "x",}\n', "double quotes at character"),
        (b"{'text': 'a, b', 'label': 'x'}\n", "double quotes at character 2"),
        (b'\x1e{"text": "a, b", "label": "x"}\n', "Expecting value at character 1"),
    ],
)
def test_what_only_looks_like_objects_is_not_taken_for_columns(line: bytes, reason: str) -> None:
    with pytest.raises(Refused) as raised:
        read(b"\n" + line * 30)

    (finding,) = raised.value.findings
    assert (finding.code, finding.line) == (Code.UNSUPPORTED_FORMAT, 2)
    assert reason in finding.message


def test_a_comment_above_objects_costs_its_line() -> None:
    result = read(b"// made by a script, on Monday\n" + lines(*GOOD))

    assert result.checked.dialect.format is Format.JSONL
    assert result.findings == [("malformed_json", 1, 1)]
    assert result.checked.rows_kept == len(GOOD)


def test_objects_may_be_texts_of_a_table() -> None:
    content = b"text,label\n" + b'{"a": 1},x\n{"b": 2},y\n' * 10

    assert read(content).checked.dialect.format is Format.CSV


def test_lists_make_labels_many_and_an_empty_one_is_none() -> None:
    result = read(lines({"text": "a", "labels": ["x", "y"]}, {"text": "b", "labels": []}))

    assert result.examples() == [("a", "x\x1fy"), ("b", "")]
    assert result.layout.label_separator == "\x1f"


def test_a_separator_cuts_strings_but_not_what_is_in_lists() -> None:
    labels: list[object] = ["x | y", "", "|x|", ["x|z"]]
    content = lines(*({"text": "a", "label": label} for label in labels))

    read_labels = [found for _, found in read(content, label_separator="|").examples()]

    assert read_labels == ["x\x1fy", "", "x", "x|z"]


def test_keys_are_chosen_kept_and_left_out() -> None:
    rows = [{"id": 7, "q": "why", "a": "x", "part": "test", "meta": {"k": [1]}, "more": None}] * 2

    result = read(
        lines(*rows),
        text_column="q",
        label_column="a",
        keep_columns=("id", "meta"),
        split=SplitOptions(column="part"),
    )

    assert result.rows() == [("why", "x", "7", '{"k": ["1"]}', "test")] * 2
    assert result.layout.kept == (("id", 2), ("meta", 3))
    assert result.layout.split == 4
    assert result.checked.dialect.ignored_columns == ("more",)


def test_more_keys_than_two_have_to_be_chosen() -> None:
    with pytest.raises(Refused) as raised:
        read(lines({"id": 1, "text": "a", "label": "b"}))

    (finding,) = raised.value.findings
    assert finding.code is Code.CHOOSE_COLUMNS
    assert "--text-column text --label-column label" in finding.fix


def test_a_first_object_may_be_longer_than_what_is_looked_at() -> None:
    rows = [{"text": "x" * 5000, "label": "a"}, *GOOD]

    assert front_check(lines(*rows), head_bytes=1000).checked.rows_kept == len(rows)
    with pytest.raises(Refused, match="first line is longer than 2000 bytes"):
        front_check(lines(*rows), head_bytes=1000, chunk=100, limits=Limits(max_record_bytes=2000))


def test_keys_that_only_later_rows_have_are_told() -> None:
    content = lines(*GOOD * 60, {"text": "a", "label": "b", "late": 1})

    result = read(content)

    assert result.checked.rows_kept == 1201
    assert "`late`" in result.messages["columns_ignored"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"text": "a", "label"', "malformed_json"),
        (b"[1, 2]", "malformed_json"),
        (b"no json", "malformed_json"),
        (b'{"text": ["a"], "label": "b"}', "malformed_json"),
        (b'{"text": "a", "label": {"b": 1}}', "malformed_json"),
        (b'{"text": "a", "label": [["b"]]}', "malformed_json"),
        (b'{"text": "a", "label": "b\\u001fc"}', "malformed_json"),
        (b'{"text": ' + b"[" * 100_000, "malformed_json"),
        (b'{"text": "a", "label": null}', "empty_label"),
        (b'{"text": "a", "label": ["b", " "]}', "empty_label"),
        (b'{"text": "a"}', "empty_label"),
        (b'{"text": "\\ud800", "label": "b"}', "bad_encoding"),
        (b'{"text": "\xff", "label": "b"}', "bad_encoding"),
        (b'{"text": "\\u0000", "label": "b"}', "nul_byte"),
        (b'{"text": "' + b"x" * 200_000 + b'", "label": "b"}', "line_too_long"),
    ],
)
def test_what_is_wrong_with_a_row_costs_that_row(line: bytes, code: str) -> None:
    content = lines(*GOOD) + line + b"\n\n" + lines({"text": "last", "label": "a"})

    result = front_check(
        content,
        options=DatasetOptions(encoding="utf-8"),
        limits=Limits(max_record_bytes=150_000),
        chunk=4096,
    )

    assert [found for found in result.findings if found[1]] == [(code, 21, 21)]
    assert result.examples()[-1] == ("last", "a")
    assert result.places[-1] == (22, 23)


def test_a_missing_text_is_left_to_what_judges_texts() -> None:
    result = read(lines(*GOOD, {"label": "a"}))

    assert result.examples()[-1] == ("", "a")


def test_a_file_of_malformed_lines_is_refused_with_the_first() -> None:
    with pytest.raises(Refused) as raised:
        read(lines(*GOOD[:5]) + b"broken\n" * 5)

    (finding,) = raised.value.findings
    assert (finding.code, finding.line) == (Code.TOO_MANY_MALFORMED_ROWS, 6)


def test_lines_without_objects_are_refused() -> None:
    with pytest.raises(Refused) as raised:
        read(b"text,label\na,b\n", format=Format.JSONL)

    assert raised.value.findings[0].code is Code.UNSUPPORTED_FORMAT
