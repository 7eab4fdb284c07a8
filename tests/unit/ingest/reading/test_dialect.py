from __future__ import annotations

import pytest

from services.ingest.dataset import DatasetOptions, Quoting
from services.ingest.finding import Code, Refused
from services.ingest.reading.dialect import Table, detect_table
from tests.unit.ingest.check import front_check

ROWS = ["My order was late", "Thank you for the refund", "I am still waiting", "All good"]


def lines(delimiter: str) -> bytes:
    rows = [f"{text}{delimiter}{number % 2}" for number, text in enumerate(ROWS * 3)]
    return ("\n".join(rows) + "\n").encode()


def detect(sample: bytes, options: DatasetOptions | None = None) -> Table:
    return detect_table(sample, options or DatasetOptions(), is_whole=True)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_splits_the_rows_alike(delimiter: str) -> None:
    table = detect(lines(delimiter))

    assert (table.delimiter, table.columns) == (delimiter, 2)
    assert table.assumed == {"delimiter", "quoting"}


@pytest.mark.parametrize(
    "sample",
    [
        b"one, two;a\nthree, four;b\nfive;a\n",
        b'"a; b";x\n"c, d";y\n',
        b"id;text;label\n1;a, b;x\n2;c;y\n",
    ],
)
def test_commas_inside_texts_do_not_mislead(sample: bytes) -> None:
    assert detect(sample).delimiter == ";"


def test_a_declared_delimiter_wins() -> None:
    table = detect(b"one|x,a\ntwo|y,b\n", DatasetOptions(delimiter="|"))

    assert (table.delimiter, table.assumed) == ("|", frozenset({"quoting"}))


def test_the_line_in_which_excel_names_the_delimiter_is_skipped() -> None:
    result = front_check(b"sep=;\r\ntext;label\r\none;a\r\ntwo;b\r\n")

    assert result.checked.dialect.delimiter == ";"
    assert result.places == [(1, 3), (2, 4)]


@pytest.mark.parametrize(
    ("sample", "quoting"),
    [
        (b'"says ""hi"", ok",a\n' * 3, Quoting.DOUBLED),
        (b'"says \\"hi\\", ok",a\n' * 3, Quoting.BACKSLASH),
        (b'"Hi" he said\ta\n"No\tb\n' * 3, Quoting.NONE),
        (b'C:\\dir\\,a\n"C:\\dir\\",b\n', Quoting.DOUBLED),
    ],
)
def test_quoting_is_what_reads_every_row(sample: bytes, quoting: Quoting) -> None:
    assert detect(sample).quoting is quoting


def test_backslashes_escape_quotes_and_themselves() -> None:
    result = front_check(b'"He said \\"hi\\", ok",a\n"back\\\\slash\\n",b\nplain \\,c\n')

    assert result.rows() == [
        ('He said "hi", ok', "a"),
        ("back\\slash\\n", "b"),
        ("plain \\", "c"),
    ]


def test_quotes_that_mean_nothing_are_part_of_the_text() -> None:
    result = front_check(b'"Hi" he said\ta\n"No\tb\nplain\ta\n')

    assert result.examples() == [('"Hi" he said', "a"), ('"No', "b"), ("plain", "a")]
    assert result.findings == []


def test_any_number_of_empty_rows_says_nothing_about_a_file() -> None:
    content = b"\n ,, \n,,\n" * 5000 + b"text,label,note\nwhy,a,\n,,\nhow,b,\n"

    table = detect(content)

    assert table.rows == [("text", "label", "note"), ("why", "a", ""), ("how", "b", "")]
    assert content[slice(*table.spans[0])] == b"text,label,note\n"


@pytest.mark.parametrize(
    ("sample", "code", "words"),
    [
        (b"only\ntexts\n", Code.COLUMN_COUNT, "one column"),
        (b"a,b,c\n1,2\n1,2,3,4\nx\n", Code.COLUMN_COUNT, "agree on no number"),
        (b'1;"un "quoted" \nhere"\n' * 3, Code.UNTERMINATED_QUOTE, "line 1"),
        (b"\n \n\n", Code.EMPTY_FILE, "no rows"),
    ],
)
def test_what_is_no_table_is_refused_in_words(sample: bytes, code: Code, words: str) -> None:
    with pytest.raises(Refused) as raised:
        detect(sample)

    (finding,) = raised.value.findings
    assert finding.code is code
    assert words in finding.message
    assert finding.fix
