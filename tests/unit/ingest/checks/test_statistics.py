"""Figures of texts: exact where a text can be cut, sampled elsewhere, and of the right language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from services.ingest.checks import statistics
from services.ingest.checks.statistics import Measured
from services.ingest.checks.token_lengths import count_tokens
from services.ingest.dataset import Limits, TokenStatistics
from services.ingest.finding import Code, FindingWriter
from services.ingest.workbench import EngineOptions, Workbench

LIMIT = 16
REMAINING = """
CREATE OR REPLACE TABLE remaining AS
SELECT
  getvariable('split')::UTINYINT AS split, row, row + 1 AS line, text, hash(text) AS key
FROM (
  SELECT
    unnest(getvariable('texts')) AS text, generate_subscripts(getvariable('texts'), 1) AS row
)
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with Workbench(tmp_path_factory.mktemp("bench"), EngineOptions()) as opened:
        yield opened


def measured(
    bench: Workbench, texts: Sequence[str], directory: Path, *, split: int = 0
) -> tuple[Measured, list[str]]:
    """Measure; also return the lines of the findings of single rows."""
    bench.set(texts=list(texts), split=split)
    bench.run(REMAINING)
    with FindingWriter(directory / "findings.csv") as findings:
        found = statistics.measure(bench, limits=Limits(max_tokens=LIMIT), findings=findings)
    return found, (directory / "findings.csv").read_text(encoding="utf-8").splitlines()


def counts(text: str, limit: int = LIMIT) -> int:
    return next(iter(count_tokens(limit, [text]))).tokens


def test_few_texts_are_all_counted(bench: Workbench, tmp_path: Path) -> None:
    texts = [f"word {'a ' * size}".strip() for size in range(20)]

    found, lines = measured(bench, texts, tmp_path)

    assert found.tokens == TokenStatistics(
        p50=12,
        p95=21,
        max=22,
        histogram=((8, 6), (16, 8), (32, 6)),
        counted_texts=20,
        sampled=False,
        truncated_share=6 / 20,
        unknown_share=0.0,
    )
    assert found.over_long == 6
    assert [line.split(",")[:3] for line in lines] == [
        ['"train"', f'"{row + 1}"', f'"{row}"'] for row in range(15, 21)
    ]
    assert [finding.code for finding in found.findings] == [Code.TOKEN_LIMIT]
    assert found.findings[0].count == 6


def test_of_many_texts_those_that_may_be_cut_are_all_counted(
    bench: Workbench, tmp_path: Path
) -> None:
    short = [f"text {number}" for number in range(30_000)]
    long = [f"{number} " + "long " * 30 for number in range(50)]

    found, lines = measured(bench, short + long, tmp_path)

    assert found.tokens is not None
    assert found.tokens.sampled
    assert 9_000 < found.tokens.counted_texts < 11_000
    assert found.over_long == len(lines) == 50
    assert found.tokens.truncated_share == 50 / 30_050
    assert found.tokens.max == counts(long[-1])
    assert abs(sum(count for _, count in found.tokens.histogram) - 30_050) <= 2
    assert found.tokens.p50 in {4, 5}


def test_the_order_of_rows_changes_nothing(bench: Workbench, tmp_path: Path) -> None:
    texts = [f"Where is my parcel number {number}?" for number in range(12_000)]

    assert measured(bench, texts, tmp_path)[0] == measured(bench, texts[::-1], tmp_path)[0]


def test_rows_of_a_parent_are_measured_and_not_told_of_again(
    bench: Workbench, tmp_path: Path
) -> None:
    found, lines = measured(bench, ["long " * 30], tmp_path, split=3)

    assert found.over_long == 1
    assert lines == []


def test_unknown_tokens_are_warned_about(bench: Workbench, tmp_path: Path) -> None:
    found, _ = measured(bench, ["ok \U00010400\U00010401", "fine \U00010402"], tmp_path)

    assert found.tokens is not None
    assert found.tokens.unknown_share == pytest.approx(0.5)
    assert [finding.code for finding in found.findings] == [Code.UNKNOWN_TOKENS]
    assert "50%" in found.findings[0].message


def test_languages_are_guessed_of_texts_that_are_long_enough(
    bench: Workbench, tmp_path: Path
) -> None:
    english = [f"My card payment number {n} was declined, please help me" for n in range(30)]
    german = [f"Meine Kartenzahlung Nummer {n} wurde leider abgelehnt" for n in range(10)]

    found, _ = measured(bench, [*english, *german, "ok", "12345"], tmp_path)

    assert found.languages == (("en", 0.75), ("de", 0.25))


def test_no_texts_have_no_figures(bench: Workbench, tmp_path: Path) -> None:
    bench.set(texts=["x"], split=0)
    bench.run(REMAINING)
    bench.run("DELETE FROM remaining")
    with FindingWriter(tmp_path / "findings.csv") as findings:
        assert statistics.measure(bench, limits=Limits(), findings=findings) == Measured()


@pytest.mark.parametrize(
    "text", ["", "a" * 300, "word " * 200, "x" * 5_000, "word " * 200 + "x" * 1_000]
)
def test_whether_a_text_is_over_the_limit_is_exact(text: str) -> None:
    exactly = counts(text, limit=100_000)

    assert (counts(text) > LIMIT) == (exactly > LIMIT)
    assert exactly <= LIMIT or counts(text) > LIMIT
