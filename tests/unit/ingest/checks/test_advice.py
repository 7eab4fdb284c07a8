"""Advice in words, most useful first, and the estimate of the training time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.ingest.checks.advice import advised
from services.ingest.dataset import FindingCount, Report, Split, TokenStatistics
from services.ingest.finding import Code, severity_of

SPLITS = {Split.TRAIN: 800, Split.VALIDATION: 100, Split.TEST: 100}
SHORT = TokenStatistics(p50=12, p95=30, max=60, histogram=((16, 700), (32, 250), (64, 50)))
GOOD = Report(splits=SPLITS, tokens=SHORT)
EVEN = (("credit", 400), ("refund", 400))


def found(**counts: int) -> tuple[FindingCount, ...]:
    return tuple(
        FindingCount(code=code, severity=severity_of(Code(code)), count=count)
        for code, count in counts.items()
    )


def test_a_good_dataset_needs_no_advice() -> None:
    assert advised(GOOD, labels=EVEN).advice == ()


def test_what_helps_most_comes_first() -> None:
    report = replace(
        GOOD,
        splits={Split.TRAIN: 400},
        removed_labels=("rare", "odd"),
        findings=found(
            conflicting_labels=3,
            mojibake=1,
            near_duplicate=100,
            near_leakage=2,
            label_variant=1,
        ),
        tokens=replace(SHORT, truncated_share=0.3, unknown_share=0.12),
    )

    told = advised(report, labels=(("a", 193), ("b", 180), ("refund", 7))).advice

    assert told[0] == "Add examples of `refund`: 7 against a median of 180."
    assert [words.split(" ")[0] for words in told] == [
        *("Add", "Add", "Merge", "Decide", "Add", "Export", "Shorten", "Choose"),
        *("Collect", "Replace"),
    ]
    assert "`rare`, `odd`" in told[1]
    assert "30%" in told[6]
    assert "12%" in told[7]


def test_many_thin_labels_are_counted() -> None:
    labels = (*((f"big{n}", 100) for n in range(20)), *((f"thin{n}", 5) for n in range(8)))

    told = advised(GOOD, labels=labels).advice

    assert told[0] == "Add examples of `thin7`: 5 against a median of 100."
    assert told[5] == "3 more labels have less than a quarter of the median."


def test_a_refused_dataset_is_advised_without_a_time() -> None:
    report = advised(replace(GOOD, findings=found(conflicting_labels=9)), labels=())

    assert report.training_time is None
    assert report.advice


@pytest.mark.parametrize(
    ("rows", "longer"),
    [(250, 500), (1_000, 4_000), (10_000, 100_000), (1_000_000, 6_000_000)],
)
def test_more_rows_take_longer(rows: int, longer: int) -> None:
    def time(count: int) -> timedelta:
        estimate = advised(replace(GOOD, splits={Split.TRAIN: count}), labels=EVEN).training_time
        assert estimate is not None
        return estimate

    assert timedelta(seconds=30) < time(rows) < time(longer)


def test_few_rows_a_label_take_twice_the_passes_and_long_texts_more_time() -> None:
    many = tuple((f"label{n}", 10) for n in range(80))
    plain = advised(GOOD, labels=EVEN).training_time
    thin = advised(GOOD, labels=many).training_time
    long = advised(
        replace(GOOD, tokens=replace(SHORT, histogram=((512, 1000),))), labels=EVEN
    ).training_time

    assert plain is not None
    assert thin is not None
    assert long is not None
    assert plain < thin < long
