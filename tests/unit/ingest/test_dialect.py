from __future__ import annotations

import pytest

from services.ingest.dataset import DatasetOptions
from services.ingest.finding import Code, Refused
from services.ingest.reading.dialect import detect_dialect

ROWS = ["My order was late", "Thank you for the refund", "I am still waiting", "All good"]


def lines(delimiter: str, header: str = "") -> bytes:
    rows = [f"{text}{delimiter}{number % 2}" for number, text in enumerate(ROWS * 3)]
    return ("\n".join([header, *rows] if header else rows) + "\n").encode()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_gives_two_columns(delimiter: str) -> None:
    detected = detect_dialect(lines(delimiter), DatasetOptions())

    assert (detected.dialect.delimiter, detected.dialect.has_header) == (delimiter, False)
    assert (detected.dialect.text_column, detected.dialect.label_column) == ("1", "2")


def test_commas_inside_texts_do_not_mislead() -> None:
    sample = b"one, two;a\nthree, four;b\nfive;a\n"

    assert detect_dialect(sample, DatasetOptions()).dialect.delimiter == ";"


def test_a_declared_delimiter_wins() -> None:
    sample = b"one|x,a\ntwo|y,b\n"

    assert detect_dialect(sample, DatasetOptions(delimiter="|")).dialect.delimiter == "|"


@pytest.mark.parametrize(
    ("header", "text_index"),
    [
        ("text,label", 0),
        (" Message , SENTIMENT ", 0),
        ("label,text", 1),
        ("intent,utterance", 1),
        ('"Review","Category"', 0),
        ("text,label_name", 0),
        ("comment,Tonfall", 0),
    ],
)
def test_known_names_make_a_header_in_either_order(header: str, text_index: int) -> None:
    detected = detect_dialect(lines(",", header), DatasetOptions())

    assert detected.dialect.has_header
    assert detected.layout.text == text_index
    assert (detected.skip_bytes, detected.skip_lines) == (len(header) + 1, 1)


@pytest.mark.parametrize("first", ["My parcel,0", "comment,1", "A message about a label,1"])
def test_a_row_of_data_is_no_header(first: str) -> None:
    assert not detect_dialect(lines(",", first), DatasetOptions()).dialect.has_header


def test_what_is_declared_of_the_header_is_not_questioned() -> None:
    declared = detect_dialect(lines(",", "foo,bar"), DatasetOptions(has_header=True))
    denied = detect_dialect(lines(",", "text,label"), DatasetOptions(has_header=False))

    assert (declared.dialect.text_column, declared.dialect.label_column) == ("foo", "bar")
    assert not denied.dialect.has_header


def test_the_line_in_which_excel_names_the_delimiter_is_skipped() -> None:
    detected = detect_dialect(b"sep=;\n" + lines(";", "text;label"), DatasetOptions())

    assert (detected.dialect.delimiter, detected.dialect.has_header, detected.skip_lines) == (
        ";",
        True,
        2,
    )


@pytest.mark.parametrize(
    ("sample", "code", "words"),
    [
        (b"only\ntexts\n", Code.COLUMN_COUNT, "one column"),
        (b"id,text,label\n1,a,b\n", Code.COLUMN_COUNT, "3 columns (delimiter: comma)"),
        (b"a,b,c\n1,2\n1,2,3,4\nx\n", Code.COLUMN_COUNT, "agree on no number"),
        (b'"He said \\"hi\\", ok",a\n' * 3, Code.UNTERMINATED_QUOTE, "line 1"),
        (b"\n \n\n", Code.EMPTY_FILE, "no rows"),
    ],
)
def test_what_has_not_two_columns_is_refused_in_words(
    sample: bytes, code: Code, words: str
) -> None:
    with pytest.raises(Refused) as raised:
        detect_dialect(sample, DatasetOptions())

    (finding,) = raised.value.findings
    assert finding.code is code
    assert words in finding.message
    assert finding.fix
