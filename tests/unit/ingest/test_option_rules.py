"""Which options are refused, and that all of them are named at once."""

from __future__ import annotations

import pytest

from services.ingest.dataset import (
    DatasetOptions,
    Format,
    Profile,
    Quoting,
    SplitOptions,
)
from services.ingest.option_rules import MAX_KEPT_COLUMNS, check_options

PROFILES = {"standard": Profile(min_examples=250, advised_examples=500, min_per_label=5)}


def refused(options: DatasetOptions) -> list[str]:
    return [violation.field for violation in check_options(options, PROFILES, field="o")]


@pytest.mark.parametrize(
    "options",
    [
        DatasetOptions(),
        DatasetOptions(delimiter="\t", encoding="shift-jis", quoting=Quoting.BACKSLASH),
        DatasetOptions(delimiter="~", text_column="1", label_column="2", label_separator="|"),
        DatasetOptions(format=Format.JSONL, encoding="utf-16le", keep_columns=("id", "3")),
        DatasetOptions(split=SplitOptions(column="part", seed=-(1 << 63))),
    ],
)
def test_what_the_contract_allows_is_taken(options: DatasetOptions) -> None:
    assert refused(options) == []


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (DatasetOptions(delimiter=",,"), ["o.delimiter"]),
        (DatasetOptions(delimiter="é"), ["o.delimiter"]),
        (DatasetOptions(delimiter="\n"), ["o.delimiter"]),
        (DatasetOptions(delimiter="7"), ["o.delimiter"]),
        (DatasetOptions(delimiter='"'), ["o.delimiter"]),
        (DatasetOptions(encoding="klingon"), ["o.encoding"]),
        (DatasetOptions(encoding="base64"), ["o.encoding"]),
        (DatasetOptions(encoding="idna"), ["o.encoding"]),
        (DatasetOptions(encoding="punycode"), ["o.encoding"]),
        (DatasetOptions(encoding="utf-8\0"), ["o.encoding"]),
        (DatasetOptions(format=Format.JSONL, delimiter=","), ["o.delimiter"]),
        (
            DatasetOptions(
                format=Format.PARQUET, quoting=Quoting.NONE, has_header=True, encoding="utf-8"
            ),
            ["o.quoting", "o.has_header", "o.encoding"],
        ),
        (DatasetOptions(text_column="a", label_column="a"), ["o.label_column"]),
        (
            DatasetOptions(keep_columns=("a", "b", "a", "")),
            ["o.keep_columns[2]", "o.keep_columns[3]"],
        ),
        (DatasetOptions(text_column="x" * 257), ["o.text_column"]),
        (DatasetOptions(label_column="la\0bel"), ["o.label_column"]),
        (
            DatasetOptions(keep_columns=("Labels ", "text")),
            ["o.keep_columns[0]", "o.keep_columns[1]"],
        ),
        (
            DatasetOptions(keep_columns=tuple(f"c{n}" for n in range(MAX_KEPT_COLUMNS + 1))),
            ["o.keep_columns"],
        ),
        (DatasetOptions(label_separator="123456789"), ["o.label_separator"]),
        (DatasetOptions(label_separator="\n"), ["o.label_separator"]),
        (DatasetOptions(label_separator=";", delimiter=";"), ["o.label_separator"]),
        (
            DatasetOptions(split=SplitOptions(validation_share=float("nan"), seed=1 << 63)),
            ["o.split.validation_share", "o.split.seed"],
        ),
        (DatasetOptions(split=SplitOptions(validation_share=0.5, test_share=0.5)), ["o.split"]),
        (DatasetOptions(profile="strict"), ["o.profile"]),
        (
            DatasetOptions(delimiter="ab", encoding="x-none", profile="", label_separator='"'),
            ["o.delimiter", "o.encoding", "o.label_separator", "o.profile"],
        ),
    ],
)
def test_everything_that_is_wrong_is_named(options: DatasetOptions, fields: list[str]) -> None:
    assert refused(options) == fields


def test_a_long_value_is_not_repeated_whole() -> None:
    long = "x" * 100_000

    found = check_options(DatasetOptions(delimiter=long, encoding=long, profile=long), PROFILES)

    assert len(found) == 3
    assert all(len(violation.description) < 300 for violation in found)
