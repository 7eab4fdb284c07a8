"""Options that several commands of datasets share: which files, how they are read and checked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from isogloss.dataset_options import Cleaning, OptionFields

_READING = "Reading the files (what is not given is detected)"
_CLEANING = "Cleaning the texts (done again by every model trained on them)"
_CHECKING = "Checking and splitting"

MAX_DAYS = 36_500.0
"""Furthest end of a dataset that can be asked for: a hundred years."""

Train = Annotated[
    Path,
    typer.Option(
        help="File with a text and a label in each row: CSV, TSV, JSON lines or Parquet; also "
        "with gzip or zstd.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Rows = Annotated[
    Path | None,
    typer.Option(help="File of further rows.", exists=True, dir_okay=False, show_default=False),
]
Validation = Annotated[
    Path | None,
    typer.Option(
        help="File to score on while training. Without it: cut from --train.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Test = Annotated[
    Path | None,
    typer.Option(
        help="File to score the result on. Without it: cut from --train.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Name = Annotated[
    str, typer.Argument(help="A name for people; need not be unique.", show_default=False)
]
Direct = Annotated[
    bool,
    typer.Option(
        "--direct", help="Send the bytes straight into the object store, past the service."
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        help="Dataset whose upload was interrupted; sends what is missing.",
        metavar="DATASET",
        show_default=False,
    ),
]
ExpireDays = Annotated[
    float | None,
    typer.Option(
        help="Delete it by itself after so many days.",
        min=0.0,
        max=MAX_DAYS,
        metavar="DAYS",
        show_default=False,
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the validation.")]


def days(number: float | None) -> timedelta | None:
    """Read a number of days."""
    return None if number is None else timedelta(days=number)


def reading(
    *,
    format: Annotated[  # noqa: A002 (the flag's name)
        str | None,
        typer.Option(
            help="What the files are.",
            metavar="csv|jsonl|parquet",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = None,
    has_header: Annotated[
        bool | None,
        typer.Option(
            "--has-header/--no-header",
            help="Whether the first row names the columns.",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = None,
    delimiter: Annotated[
        str,
        typer.Option(
            help=r"Between the cells, such as , ; | or \t.",
            metavar="CHARACTER",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = "",
    quoting: Annotated[
        str | None,
        typer.Option(
            help="How a quote stands inside a quoted cell: twice, or after a backslash. none: "
            "quotes are characters like any other.",
            metavar="doubled|backslash|none",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = None,
    encoding: Annotated[
        str,
        typer.Option(
            help="Such as utf-8, utf-16le, cp1252, shift-jis.",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = "",
    text_column: Annotated[
        str,
        typer.Option(
            help="Column of the texts: its name, or its number from 1.",
            metavar="COLUMN",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = "",
    label_column: Annotated[
        str,
        typer.Option(
            help="Column of the labels: its name, or its number from 1.",
            metavar="COLUMN",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = "",
    keep_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Further column to carry along; may be repeated.",
            metavar="COLUMN",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = None,
    label_separator: Annotated[
        str,
        typer.Option(
            help="Between the labels of one cell; a text then has any number.",
            metavar="TEXT",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = "",
) -> OptionFields:
    """Say how the files are to be read."""
    return OptionFields(
        format=format,
        has_header=has_header,
        delimiter=delimiter.replace("\\t", "\t"),
        quoting=quoting,
        encoding=encoding,
        text_column=text_column,
        label_column=label_column,
        keep_columns=tuple(keep_column or ()),
        label_separator=label_separator,
    )


def checking(
    *,
    fix_text: Annotated[
        bool,
        typer.Option(
            "--fix-text", help="Repair mojibake: cafÃ© becomes café.", rich_help_panel=_CLEANING
        ),
    ] = False,
    strip_html: Annotated[
        bool,
        typer.Option(
            "--strip-html",
            help="Keep what a reader of the page would see.",
            rich_help_panel=_CLEANING,
        ),
    ] = False,
    urls: Annotated[
        str | None,
        typer.Option(
            help="Web addresses: [URL] in their place, or nothing.",
            metavar="mask|remove",
            rich_help_panel=_CLEANING,
            show_default=False,
        ),
    ] = None,
    emails: Annotated[
        str | None,
        typer.Option(
            help="Mail addresses: [EMAIL], or nothing.",
            metavar="mask|remove",
            rich_help_panel=_CLEANING,
            show_default=False,
        ),
    ] = None,
    user_names: Annotated[
        str | None,
        typer.Option(
            help="@somebody: [USER], or nothing.",
            metavar="mask|remove",
            rich_help_panel=_CLEANING,
            show_default=False,
        ),
    ] = None,
    remove_symbols: Annotated[
        bool,
        typer.Option(
            "--remove-symbols", help="Symbols and pictographs go.", rich_help_panel=_CLEANING
        ),
    ] = False,
    profile: Annotated[
        str,
        typer.Option(
            help="Set of minimum counts that the operator configured.", rich_help_panel=_CHECKING
        ),
    ] = "standard",
    near_duplicates: Annotated[
        str | None,
        typer.Option(
            help="Texts that differ in little. Otherwise: report.",
            metavar="off|report|drop",
            rich_help_panel=_CHECKING,
            show_default=False,
        ),
    ] = None,
    validation_share: Annotated[
        float | None,
        typer.Option(
            help="Share of the rows for validation, up to 0.5. Otherwise 0.1.",
            metavar="SHARE",
            rich_help_panel=_CHECKING,
            show_default=False,
        ),
    ] = None,
    test_share: Annotated[
        float | None,
        typer.Option(
            help="Share of the rows for the test, up to 0.5. Otherwise 0.1.",
            metavar="SHARE",
            rich_help_panel=_CHECKING,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the split. Otherwise 0.", rich_help_panel=_CHECKING, show_default=False
        ),
    ] = None,
    split_column: Annotated[
        str,
        typer.Option(
            help="Column that says train, validation or test.",
            metavar="COLUMN",
            rich_help_panel=_CHECKING,
            show_default=False,
        ),
    ] = "",
    keep_raw: Annotated[
        bool,
        typer.Option(
            "--keep-raw", help="Keep the files as they were uploaded.", rich_help_panel=_CHECKING
        ),
    ] = False,
) -> OptionFields:
    """Say how the rows are to be cleaned, checked and split."""
    return OptionFields(
        cleaning=Cleaning(
            fix_text=fix_text,
            strip_html=strip_html,
            urls=urls,
            emails=emails,
            user_names=user_names,
            remove_symbols=remove_symbols,
        ),
        profile="" if profile == "standard" else profile,
        near_duplicates=near_duplicates,
        validation_share=validation_share,
        test_share=test_share,
        seed=seed,
        split_column=split_column,
        keep_raw=keep_raw,
    )
