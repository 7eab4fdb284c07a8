"""Options and reports lose nothing on the wire."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.v1 import dataset_pb2
from isogloss.v1.label_mode_pb2 import LABEL_MODE_MULTI, LABEL_MODE_SINGLE
from services.common.cleaning import Cleaning, Replacement
from services.common.cleaning_proto import cleaning_from_proto, cleaning_to_proto
from services.common.errors import InvalidArgument
from services.ingest.convert.options import options_from_proto, options_to_proto
from services.ingest.convert.report import report_from_proto, report_to_proto
from services.ingest.dataset import (
    DatasetOptions,
    Dialect,
    FileReport,
    FindingCount,
    Format,
    NearDuplicates,
    Overlap,
    Quoting,
    Report,
    Split,
    SplitOptions,
    TokenStatistics,
)

WORDS = st.text(max_size=5)
COUNTS = st.integers(0, 1 << 31)
SHARES = st.floats(0, 1)
FLAGS = st.booleans()
REPLACEMENTS = st.sampled_from(Replacement)
cleanings = st.builds(
    Cleaning,
    fix_text=FLAGS,
    strip_html=FLAGS,
    urls=REPLACEMENTS,
    emails=REPLACEMENTS,
    user_names=REPLACEMENTS,
    remove_symbols=FLAGS,
)
split_options = st.builds(
    SplitOptions,
    validation_share=SHARES,
    test_share=SHARES,
    seed=st.integers(-(1 << 63), (1 << 63) - 1),
    column=WORDS,
)
options = st.builds(
    DatasetOptions,
    has_header=st.none() | FLAGS,
    delimiter=WORDS,
    profile=st.text(min_size=1, max_size=5),
    split=split_options,
    format=st.sampled_from(Format),
    encoding=WORDS,
    quoting=st.sampled_from(Quoting),
    text_column=WORDS,
    label_column=WORDS,
    keep_columns=st.lists(WORDS, max_size=3).map(tuple),
    label_separator=WORDS,
    cleaning=cleanings,
    near_duplicates=st.sampled_from(NearDuplicates),
    keep_raw=FLAGS,
)
# What the contract does not tell of a dialect is left at its default.
dialects = st.builds(
    Dialect,
    format=st.sampled_from(Format),
    compression=WORDS,
    encoding=WORDS,
    delimiter=WORDS,
    quoting=st.sampled_from(Quoting),
    has_header=FLAGS,
    text_column=WORDS,
    label_column=WORDS,
    kept_columns=st.lists(WORDS, max_size=2).map(tuple),
    ignored_columns=st.lists(WORDS, max_size=2).map(tuple),
    assumed=st.lists(WORDS, max_size=2).map(tuple),
)
files = st.builds(
    FileReport,
    split=st.sampled_from(Split),
    size_bytes=COUNTS,
    sha256=WORDS,
    dialect=dialects,
    row_count=COUNTS,
)
tokens = st.builds(
    TokenStatistics,
    p50=st.integers(0, 1000),
    p95=st.integers(0, 1000),
    max=st.integers(0, 1000),
    histogram=st.lists(st.tuples(st.integers(0, 1000), COUNTS), max_size=3).map(tuple),
    counted_texts=COUNTS,
    sampled=FLAGS,
    truncated_share=SHARES,
    unknown_share=SHARES,
)
reports = st.builds(
    Report,
    files=st.lists(files, max_size=2).map(tuple),
    splits=st.dictionaries(st.sampled_from(Split), COUNTS),
    label_count=st.integers(0, 1000),
    removed_labels=st.lists(WORDS, max_size=2).map(tuple),
    imbalance=SHARES,
    over_long_texts=COUNTS,
    findings=st.lists(
        st.builds(FindingCount, code=WORDS, severity=st.integers(1, 4), count=COUNTS), max_size=2
    ).map(tuple),
    warnings=st.lists(WORDS, max_size=2).map(tuple),
    dealt=st.none() | split_options,
    readable=FLAGS,
    trainable=FLAGS,
    multi_label=FLAGS,
    tokens=st.none() | tokens,
    languages=st.lists(st.tuples(WORDS, SHARES), max_size=2).map(tuple),
    overlaps=st.lists(
        st.builds(
            Overlap,
            first=st.sampled_from(Split),
            second=st.sampled_from(Split),
            exact=COUNTS,
            near=COUNTS,
        ),
        max_size=2,
    ).map(tuple),
    training_time=st.none() | st.integers(0, 10**6).map(lambda s: timedelta(seconds=s)),
    advice=st.lists(WORDS, max_size=2).map(tuple),
    dropped_rows=COUNTS,
)


@settings(deadline=None)  # no timing decides a test
@given(options)
def test_options_come_back_as_they_went(chosen: DatasetOptions) -> None:
    assert options_from_proto(options_to_proto(chosen)) == chosen


@settings(deadline=None)  # no timing decides a test
@given(reports)
def test_reports_come_back_as_they_went(report: Report) -> None:
    assert report_from_proto(report_to_proto(report)) == report


@settings(deadline=None)  # no timing decides a test
@given(cleanings)
def test_cleaning_comes_back_as_it_went(cleaning: Cleaning) -> None:
    assert cleaning_from_proto(cleaning_to_proto(cleaning)) == cleaning


def test_what_is_unset_takes_the_defaults_of_the_contract() -> None:
    assert options_from_proto(dataset_pb2.DatasetOptions()) == DatasetOptions()


def test_every_field_of_the_contract_is_filled() -> None:
    everything = options_to_proto(
        DatasetOptions(
            has_header=True,
            delimiter=";",
            split=SplitOptions(column="part"),
            format=Format.CSV,
            encoding="cp1252",
            quoting=Quoting.BACKSLASH,
            text_column="a",
            label_column="b",
            keep_columns=("c",),
            label_separator="|",
            cleaning=Cleaning(fix_text=True, urls=Replacement.MASK),
            near_duplicates=NearDuplicates.DROP,
            keep_raw=True,
        )
    )

    missing = set(everything.DESCRIPTOR.fields_by_name) - {
        f.name for f, _ in everything.ListFields()
    }

    assert not missing


@pytest.mark.parametrize(
    ("multi_label", "mode"), [(False, LABEL_MODE_SINGLE), (True, LABEL_MODE_MULTI)]
)
def test_a_report_tells_the_label_mode(multi_label: bool, mode: int) -> None:  # noqa: FBT001
    assert report_to_proto(replace(Report(), multi_label=multi_label)).label_mode == mode


def test_unknown_numbers_are_all_named_at_once() -> None:
    message = dataset_pb2.DatasetOptions(format=9, quoting=9, near_duplicates=9)  # type: ignore[arg-type]
    message.cleaning.urls = 9  # type: ignore[assignment]
    message.cleaning.user_names = 9  # type: ignore[assignment]

    with pytest.raises(InvalidArgument) as refused:
        options_from_proto(message)

    assert [violation.field for violation in refused.value.violations] == [
        "dataset.options.format",
        "dataset.options.quoting",
        "dataset.options.near_duplicates",
        "dataset.options.cleaning.urls",
        "dataset.options.cleaning.user_names",
    ]
    assert "FILE_FORMAT_PARQUET" in refused.value.violations[0].description


def test_a_manifest_with_an_unknown_replacement_is_refused() -> None:
    message = cleaning_to_proto(Cleaning())
    message.emails = 9  # type: ignore[assignment]

    with pytest.raises(ValueError, match="emails"):
        cleaning_from_proto(message)
