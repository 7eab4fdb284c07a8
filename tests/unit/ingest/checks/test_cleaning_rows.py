"""SQL hands to Python every row that cleaning would change, and tells what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.common.cleaning import Cleaner, Cleaning, Replacement, Step
from services.ingest.checks import cleaning_rows
from services.ingest.dataset import Split
from services.ingest.finding import Code, severity_of
from services.ingest.workbench import EngineOptions, Workbench

PIECES = [
    *"<>&;@:/.^`' \t\n\x0b\x1c\x85-abN07éşŁ☺👍®Ã©â€œ中かﾞ\u3099กำกִ",
    *"\u0301\u0327\u200d\ufe0f\u00a0\u2028\u212b\u1fef\u1100\u1161\u11a8가\u0958\u2126\u0f73",
    *("<b>", "&amp;", "http://", "WWW.", "x.de", "@bob", "cafÃ©", "â€œ", "word "),
]
lists = st.lists(
    st.lists(
        st.sampled_from(PIECES)
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3),
        max_size=5,
    ).map("".join),
    min_size=1,
    max_size=20,
)
DECLARED = [
    Cleaning(),
    Cleaning(fix_text=True),
    Cleaning(strip_html=True),
    Cleaning(urls=Replacement.MASK),
    Cleaning(emails=Replacement.REMOVE),
    Cleaning(user_names=Replacement.REMOVE),
    Cleaning(remove_symbols=True),
]


class Rows:
    """A workbench that cleans in one way."""

    def __init__(self, bench: Workbench, cleaning: Cleaning) -> None:
        self.bench = bench
        self.cleaner = Cleaner(cleaning)
        cleaning_rows.prepare(bench, cleaning)

    def clean(self, texts: list[str], *, macro: str = "marked_text") -> list[tuple[str, int]]:
        self.bench.set(texts=texts)
        return [
            (text, marks)
            for text, marks in self.bench.rows(
                "WITH raw AS (SELECT unnest(getvariable('texts')::VARCHAR[]) AS t), "  # noqa: S608
                f"marked AS (SELECT t, {macro}(t) AS m FROM raw) "
                "SELECT marked_result(t, m), marks(t, m) FROM marked"
            )
        ]


@pytest.fixture(scope="module", params=DECLARED, ids=str)
def rows(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rows]:
    with Workbench(tmp_path_factory.mktemp("bench"), EngineOptions()) as bench:
        yield Rows(bench, request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    with Workbench(tmp_path_factory.mktemp("bench"), EngineOptions()) as bench:
        yield Rows(bench, Cleaning())


@settings(deadline=None, max_examples=40)  # no timing decides a test
@given(lists)
@example(["", " ", "\ufeff", "a\u0301", "\u2028a", "a\u200b", "\u1100\u1161", "\u1112\u1161\u11ab"])
def test_sql_and_python_agree_on_every_row(rows: Rows, texts: list[str]) -> None:
    assert [text for text, _ in rows.clean(texts)] == [
        rows.cleaner.clean(text).text for text in texts
    ]


def test_every_character_alone_and_after_another_is_seen(plain: Rows) -> None:
    texts = [
        before + chr(code)
        for code in (*range(1, 0xD800), *range(0xE000, 0x20000))
        for before in ("", "a")
    ]

    cleaned = plain.clean(texts)

    assert [text for text, _ in cleaned] == [plain.cleaner.clean(text).text for text in texts]


class Counting(Workbench):
    """A workbench that remembers which texts Python was handed."""

    seen: list[str]

    def define(self, name: str, function: Callable[[Any], Any], *, types: str = "VARCHAR") -> None:
        def noted(text: str) -> Any:  # noqa: ANN401  # whatever the function returns
            self.seen.append(text)
            return function(text)

        super().define(name, noted, types=types)


def test_rows_that_need_no_look_do_not_reach_python(tmp_path: Path) -> None:
    texts = ["plain, ascii", "hübsch", "中文", "Ещё", " x  ", "a < b", "\tx", "e\u0301", ""]
    with Counting(tmp_path, EngineOptions()) as bench:
        bench.seen = []
        rows = Rows(bench, Cleaning(strip_html=True))

        cleaned = rows.clean(texts)

    assert sorted(bench.seen) == ["\tx", "a < b", "e\u0301"]
    assert cleaned[4] == ("x", Step.TRIMMED)


def test_marks_tell_what_was_done_and_seen(plain: Rows) -> None:
    texts = ["ok", " ok\n", "e\u0301", "cafÃ©", "lost \ufffd", "bell \x07", "c1 \x9d", "NAÏVE Ã"]

    assert [marks for _, marks in plain.clean(texts)] == [
        0,
        Step.TRIMMED,
        Step.COMPOSED,
        256,
        512,
        1024,
        1024,
        0,
    ]
    assert plain.clean([" Label\u00a0"], macro="marked_label") == [("Label", Step.TRIMMED)]


def test_a_file_is_searched_for_what_its_texts_may_hold(plain: Rows, tmp_path: Path) -> None:
    records = tmp_path / "records"
    for content, count, controls, blanks in [
        (b"a,b\n x ,y\n", 2, False, False),
        (b"x,y\n" * 600_000, 600_000, False, False),
        (b'"a\n",b\n', 1, False, True),
        (b"a\t,b\n", 1, False, True),
        (b"a\r,b\n", 1, False, True),
        (b"", 0, False, False),
        (b"a\x0b,b\n", 1, True, True),
        (b"\x7f", 1, True, True),
        (b"x\n" * 600_000 + b"\x00", 600_001, True, True),
    ]:
        records.write_bytes(content)

        cleaning_rows.set_file(plain.bench, records, count=count)

        found = plain.bench.rows("SELECT getvariable('controls'), getvariable('blanks')")
        assert found == [(controls, blanks)]
    plain.bench.set(controls=True, blanks=True)


def test_each_row_that_changed_or_looks_wrong_has_its_findings(tmp_path: Path) -> None:
    cleaning = Cleaning(fix_text=True, strip_html=True, urls=Replacement.MASK)
    texts = [
        "<b>see</b> www.x.de",
        "cafÃ© \x07",
        " only blanks",
        "nothing",
        "e\u0301",
        "lost \ufffd",
    ]
    with Workbench(tmp_path, EngineOptions()) as bench:
        cleaning_rows.prepare(bench, cleaning)
        bench.set(texts=texts)
        bench.run(
            """
            CREATE TABLE staged AS
            WITH raw AS (
              SELECT
                unnest(getvariable('texts')) AS t,
                generate_subscripts(getvariable('texts'), 1) AS row
            ),
            marked AS (SELECT *, marked_text(t) AS m FROM raw)
            SELECT
              1::UTINYINT AS split, row, row + 1 AS line, marked_result(t, m) AS text,
              marks(t, m) AS text_marks, if(text_marks > 3, t, NULL) AS before,
              if(row = 4, 'a\ufffd', 'a') AS label, if(row = 4, 512, 0)::USMALLINT AS label_marks
            FROM marked
            """
        )

        bench.set(found=str(bench.write(cleaning_rows.findings_query(), "found.parquet")))
        found = bench.rows(
            'SELECT row, line, split, "column", code, severity, message, excerpt, count '
            "FROM read_parquet(getvariable('found')) ORDER BY row, code"
        )
        summaries = cleaning_rows.summaries(bench)

    assert [(row, column, code) for row, _, _, column, code, *_ in found] == [
        (1, "text", "cleaned"),
        (2, "text", "control_characters"),
        (2, "text", "mojibake_repaired"),
        (4, "label", "replacement_character"),
        (6, "text", "replacement_character"),
    ]
    assert found[0][6] == ("As declared: markup was read, web addresses were replaced.")
    assert found[0][7] == texts[0]
    assert all(
        line == row + 1 and split == 1 and count == 1 for row, line, split, *_, count in found
    )
    assert all(severity == severity_of(Code(code)) for _, _, _, _, code, severity, *_ in found)
    assert [(note.split, note.count) for note in summaries] == [(Split.VALIDATION, 1)]
    assert summaries[0].message == (
        "Blanks around text or label were removed in 1 row. Unicode was composed (NFC) in 1 row."
    )
