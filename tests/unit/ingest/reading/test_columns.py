from __future__ import annotations

import pytest

from services.ingest.dataset import DatasetOptions, Dialect, Limits, SplitOptions
from services.ingest.finding import Code, Finding, Refused
from tests.unit.ingest.check import FrontCheck, front_check

TEXTS = ["My order was late", "Thank you for the refund", "I am still waiting", "All good now"]
LABELS = ["late", "thanks"]


def pairs(count: int = 24) -> list[tuple[str, str]]:
    return [(f"{TEXTS[n % 4]} number {n}", LABELS[n % 2]) for n in range(count)]


def table(*rows: tuple[str, ...]) -> bytes:
    return "".join(",".join(row) + "\n" for row in rows).encode()


def read(content: bytes, **options: object) -> FrontCheck:
    return front_check(content, options=DatasetOptions(**options))  # type: ignore[arg-type]  # a test's


def refusals(content: bytes, **options: object) -> tuple[Finding, ...]:
    with pytest.raises(Refused) as raised:
        read(content, **options)
    return raised.value.findings


def columns(dialect: Dialect) -> tuple[bool, str, str]:
    return dialect.has_header, dialect.text_column, dialect.label_column


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("text,label", "text"),
        (" Message , SENTIMENT ", "Message"),
        ("label,text", "text"),
        ("intent,utterance", "utterance"),
        ('"Review","Category"', "Review"),
        ("text,label_name", "text"),
        ("comment,Tonfall", "comment"),
        ("Type,Content", "Content"),
    ],
)
def test_known_names_make_a_header_in_either_order(header: str, text: str) -> None:
    rows = [("x", "y"), ("z", "y")]

    result = read(header.encode() + b"\n" + table(*rows))

    assert result.checked.dialect.has_header
    assert result.checked.dialect.text_column == text
    assert result.places == [(1, 2), (2, 3)]
    assert result.findings == []


@pytest.mark.parametrize("first", ["My parcel,0", "comment,1", "A message about a label,1"])
def test_a_row_of_data_is_no_header(first: str) -> None:
    rows = [(text, str(number % 2)) for number, text in enumerate(TEXTS * 3)]

    assert not read(first.encode() + b"\n" + table(*rows)).checked.dialect.has_header


@pytest.mark.parametrize(
    ("content", "text", "code"),
    [
        (b"name,age\nEva,7\nJan,9\n", "name", "suspicious_header"),
        (
            table(("v1", "v2"), *((label, text) for text, label in pairs())),
            "v2",
            "suspicious_header",
        ),
        (table(("v1", "v2"), *pairs()), "v1", ""),
    ],
)
def test_values_tell_a_header_whose_names_tell_nothing(
    content: bytes, text: str, code: str
) -> None:
    result = read(content)

    assert columns(result.checked.dialect)[:2] == (True, text)
    assert [found for found, *_ in result.findings] == ([code] if code else [])


def test_what_is_declared_of_the_header_is_not_questioned() -> None:
    declared = read(table(("foo", "bar"), *pairs()), has_header=True).checked.dialect
    denied = read(table(("text", "label"), *pairs()), has_header=False).checked.dialect

    assert columns(declared) == (True, "foo", "bar")
    assert columns(denied) == (False, "1", "2")
    assert "has_header" not in declared.assumed + denied.assumed


def test_a_row_that_may_be_a_header_after_all_is_told() -> None:
    result = read(table(("review", "good"), ("x", "good"), ("y", "bad")))

    assert result.findings == [("suspicious_header", 1, 1)]
    assert "--has-header" in result.messages["suspicious_header"]


@pytest.mark.parametrize("title", ["Export of 3 May\n\n", 'Messages "as they came\nand more\n'])
def test_a_title_above_the_header_is_left_out_and_told(title: str) -> None:
    result = read(title.encode() + table(("text", "label"), *pairs()))

    assert result.checked.dialect.has_header
    assert result.findings == [("suspicious_header", 1, 0)]
    assert result.places[0] == (1, 4)
    assert result.examples() == pairs()


@pytest.mark.parametrize(
    ("title", "places"),
    [
        (b"Export,2026\n", [("suspicious_header", 2, 2)]),
        (b"Review,Topic\n", [("suspicious_header", 2, 1)]),
    ],
    ids=["data", "header"],
)
def test_a_title_as_wide_as_the_header_is_told(
    title: bytes, places: list[tuple[str, int, int]]
) -> None:
    result = read(title + table(("Text", "LABEL"), *pairs(40)))

    assert result.findings == places
    assert "remove what stands above" in result.messages["suspicious_header"]


def test_single_quotes_are_told_and_kept() -> None:
    single = table(*((f"'{text}'", f"'{label}'") for text, label in pairs()))
    apostrophes = table(*((f"'Tis said {text}", label) for text, label in pairs()))

    result = read(single)

    assert result.findings == [("suspicious_quote", 0, 0)]
    assert result.examples()[0] == ("'My order was late number 0'", "'late'")
    assert read(apostrophes).findings == []


@pytest.mark.parametrize("chunk", [5, 1 << 20])
@pytest.mark.parametrize("again", [("text", "label"), ("TEXT", "LABEL"), ("Text", "Label")])
def test_a_header_that_stands_between_the_rows_again_is_told(
    again: tuple[str, str], chunk: int
) -> None:
    part = table(("text", "label"), *pairs()) + table(again, *pairs())

    result = front_check(part, chunk=chunk)

    assert result.findings == [("suspicious_header", 26, 25)]
    assert result.checked.rows_kept == 49


def test_one_row_that_may_be_a_header_is_refused() -> None:
    (finding,) = refusals(b"some text,label one\n")

    assert finding.code is Code.TOO_FEW_EXAMPLES
    assert read(b"some text,label one\n", has_header=False).checked.rows_kept == 1


def test_labels_before_texts_without_a_header_are_refused_with_the_flags_to_use() -> None:
    (finding,) = refusals(table(*((label, text) for text, label in pairs())))

    assert finding.code is Code.CHOOSE_COLUMNS
    assert "--text-column 2 --label-column 1" in finding.fix
    assert 'text_column = "2", label_column = "1"' in finding.fix


def test_declared_columns_are_read_in_any_order() -> None:
    content = table(*((label, text) for text, label in pairs()))

    result = read(content, text_column="2", label_column="1")

    assert result.examples() == pairs()
    assert not {"text_column", "label_column"} & set(result.checked.dialect.assumed)


def test_further_columns_are_refused_by_name_with_the_flags_to_use() -> None:
    (finding,) = refusals(table(("id", "text", "label"), ("1", "a", "x"), ("2", "b", "y")))

    assert finding.code is Code.CHOOSE_COLUMNS
    assert "1 `id`, 2 `text`, 3 `label`" in finding.message
    assert "--text-column text --label-column label" in finding.fix


def test_names_of_several_words_are_suggested_as_a_shell_takes_them() -> None:
    (finding,) = refusals(
        table(("id", "the review", "star rating"), ("1", "long text", "5"), ("2", "more", "4"))
    )

    assert "--text-column 'the review' --label-column 'star rating'" in finding.fix


def test_further_columns_are_left_out_and_told_once_both_are_declared() -> None:
    content = table(("id", "Text", "label"), ("1", "a", "x"), ("2", "b", "y"))

    result = read(content, text_column="text ", label_column="3")

    assert result.examples() == [("a", "x"), ("b", "y")]
    assert result.checked.dialect.ignored_columns == ("id",)
    assert "'id' (2 of 2 filled)" in result.messages["columns_ignored"]


def test_further_columns_are_carried_along_where_they_are_wanted() -> None:
    content = table(("id", "text", "label", "group", "split"), ("1", "a", "x", "g", "test"))

    result = read(content, keep_columns=("id", "4"), split=SplitOptions(column="Split"))

    layout = result.layout
    assert layout.kept == (("id", 0), ("column_4", 3))
    assert (layout.text, layout.labels, layout.split) == (1, 2, 4)
    assert result.checked.dialect.kept_columns == ("id", "group")
    assert result.checked.dialect.split_column == "split"


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ({"text_column": "txt"}, [Code.MISSING_COLUMN]),
        ({"text_column": "txt", "label_column": "9"}, [Code.MISSING_COLUMN] * 2),
        ({"keep_columns": ("a",)}, [Code.MISSING_COLUMN]),
        ({"text_column": "text", "label_column": "2"}, [Code.CHOOSE_COLUMNS]),
    ],
)
def test_every_wrong_choice_is_told_with_the_columns_there_are(
    options: dict[str, object], codes: list[Code]
) -> None:
    content = table(("a", "text", "a", "label"), ("1", "x", "2", "y"), ("1", "x", "2", "y"))

    found = refusals(content, **options)

    assert [finding.code for finding in found] == codes
    assert all("2 `text`" in finding.fix for finding in found)


def test_columns_without_a_name_that_hold_next_to_nothing_are_left_out() -> None:
    rows = [(label, text, "", "") for text, label in pairs(60)]
    content = table(("v1", "v2", "", ""), *rows, ("late", "a text", "cut", "off"))

    result = read(content)

    assert columns(result.checked.dialect) == (True, "v2", "v1")
    assert result.checked.rows_kept == 61
    assert "'3' (1 of 61 filled)" in result.messages["columns_ignored"]


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_a_column_that_counts_the_rows_is_left_out(name: str) -> None:
    rows = [(str(n), *pair) for n, pair in enumerate(pairs())]

    result = read(table((name, "text", "label"), *rows))

    assert result.examples() == pairs()
    assert len(result.checked.dialect.ignored_columns) == 1


def test_more_columns_than_allowed_are_refused() -> None:
    content = table(tuple(map(str, range(300))), tuple("x" * 300))

    with pytest.raises(Refused) as raised:
        front_check(content, limits=Limits(max_columns=256))

    assert raised.value.findings[0].code is Code.COLUMN_COUNT
    assert "300 columns" in raised.value.findings[0].message


def test_a_header_of_other_width_than_the_rows_is_refused() -> None:
    (finding,) = refusals(table(("text", "label"), *((*pair, "x") for pair in pairs())))

    assert finding.code is Code.COLUMN_COUNT
    assert "2 columns, but most rows have 3" in finding.message


def test_the_column_of_splits_is_asked_of_the_training_file_only() -> None:
    (finding,) = refusals(table(("text", "label"), *pairs()), split=SplitOptions(column="part"))

    assert finding.code is Code.MISSING_COLUMN
    assert "split.column" in finding.message
