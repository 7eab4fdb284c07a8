"""`isogloss datasets check|upload|append|import|download`: files on their way in and out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from isogloss import CheckResult, Dataset, DatasetState
from isogloss.cli.commands import Stop, command, dataset_name
from isogloss.cli.dataset_flags import (
    Direct,
    ExpireDays,
    Name,
    Resume,
    Rows,
    Test,
    Train,
    Validation,
    Wait,
    checking,
    days,
    reading,
)
from isogloss.cli.dataset_view import show_dataset, show_preview
from isogloss.cli.exits import ExitCode
from isogloss.cli.findings_view import show_errors
from isogloss.cli.output import written
from isogloss.cli.progress import download_progress, import_progress, upload_progress
from isogloss.cli.report_view import report_facts, show_facts, show_report
from isogloss.cli.session import Session
from isogloss.dataset_options import OptionFields

Source = Annotated[
    str, typer.Option(metavar="URI", help="s3://BUCKET/KEY of a file.", show_default=False)
]


class SplitChoice(StrEnum):
    """Splits as words of the command line."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "check",
        services=["ingest"],
        shared=[reading, checking],
        examples=[
            "isogloss datasets check train.csv",
            "isogloss datasets check export.csv --text-column body --label-column tag --json",
        ],
    )(check)
    command(
        app,
        "upload",
        services=["ingest"],
        shared=[reading, checking],
        examples=[
            "isogloss datasets upload tone --train train.csv --test test.csv",
            "isogloss datasets upload tone --train rows.txt --no-header --delimiter '|'",
            "isogloss datasets upload tweets --train t.jsonl.gz --urls mask --user-names mask",
            "isogloss datasets upload tone --train train.csv --resume datasets/tone-k3v9qz",
        ],
    )(upload)
    command(
        app,
        "append",
        services=["ingest"],
        shared=[reading],
        examples=["isogloss datasets append tone-k3v9qz tone-march --train march.csv"],
    )(append)
    command(
        app,
        "import",
        services=["ingest"],
        shared=[reading, checking],
        examples=["isogloss datasets import tone --train s3://exports/tone/train.parquet"],
    )(import_)
    command(
        app,
        "download",
        services=["ingest"],
        examples=[
            "isogloss datasets download tone-k3v9qz --output train.parquet",
            "isogloss datasets download tone-k3v9qz --split test --output test.csv",
            "isogloss datasets download tone-k3v9qz --output - | head",
        ],
    )(download)


def check(
    session: Session,
    *,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The training file, unless --train names it.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    train: Rows = None,
    validation: Validation = None,
    test: Test = None,
    rows: Annotated[int, typer.Option(min=0, max=100, help="First rows to show.")] = 3,
    reading: OptionFields,
    checking: OptionFields,
) -> None:
    """Tell what a dataset of these files would be, and store nothing.

    Ends with 0 where a model can be trained on it, with 3 where the files can be read but no model
    be trained on them, with 2 where they cannot be read.
    """
    if (file is None) == (train is None):
        raise typer.BadParameter("Give the training file once: as FILE or as --train.")
    with session.client() as client, upload_progress(session) as progress:
        result = client.datasets.check(
            train=file or train or "",
            validation=validation,
            test=test,
            progress=progress,
            **(reading | checking),
        )
    if session.json:
        session.document(result)
    else:
        _show_check(session, result, rows)
    if not result.report.trainable:
        raise Stop(ExitCode.REFUSED if result.report.readable else ExitCode.USAGE)
    session.next_step(f"isogloss datasets upload NAME --train {file or train}, options as here")


def _show_check(session: Session, result: CheckResult, rows: int) -> None:
    if result.report.trainable:
        verdict = Text("trainable", "bold green")
    elif result.report.readable:
        verdict = Text("readable, not trainable", "bold yellow")
    else:
        verdict = Text("refused", "bold red")
    show_facts(session, [("verdict", verdict), *report_facts(result.report)])
    show_report(session, result.report)
    show_errors(session, result.errors)
    if session.rich and rows:
        show_preview(session, result.splits, rows=rows)


def upload(
    session: Session,
    *,
    name: Name,
    train: Train,
    validation: Validation = None,
    test: Test = None,
    resume: Resume = None,
    direct: Direct = False,
    expire_days: ExpireDays = None,
    wait: Wait = True,
    reading: OptionFields,
    checking: OptionFields,
) -> None:
    """Upload files of labelled texts and validate them.

    A row is a text and its label. Duplicates, broken rows and labels with too few examples
    are dropped and listed: see [cyan]isogloss datasets findings[/cyan].
    """
    with session.client() as client, upload_progress(session) as progress:
        dataset = client.datasets.upload(
            name,
            train=train,
            validation=validation,
            test=test,
            resume=dataset_name(resume) if resume else None,
            direct=direct,
            expire_time=days(expire_days),
            wait=wait,
            progress=progress,
            **(reading | checking),
        )
    _show_made(session, name, dataset)


def append(
    session: Session,
    *,
    parent: Annotated[
        str, typer.Argument(help="What it begins with: datasets/ID, or ID.", show_default=False)
    ],
    name: Name,
    train: Rows = None,
    validation: Rows = None,
    test: Rows = None,
    resume: Resume = None,
    direct: Direct = False,
    expire_days: ExpireDays = None,
    wait: Wait = True,
    reading: OptionFields,
) -> None:
    """Make a dataset of the rows of another one and of new rows.

    The other one stays as it is. The files hold new rows only; profile, cleaning and split are
    the other's.
    """
    if train is None and validation is None and test is None:
        raise typer.BadParameter("Give new rows: --train FILE, --validation FILE or --test FILE.")
    with session.client() as client, upload_progress(session) as progress:
        dataset = client.datasets.append(
            dataset_name(parent),
            name,
            train=train,
            validation=validation,
            test=test,
            resume=dataset_name(resume) if resume else None,
            direct=direct,
            expire_time=days(expire_days),
            wait=wait,
            progress=progress,
            **reading,
        )
    _show_made(session, name, dataset)


def import_(
    session: Session,
    *,
    name: Name,
    train: Source,
    validation: Source = "",
    test: Source = "",
    expire_days: ExpireDays = None,
    wait: Wait = True,
    reading: OptionFields,
    checking: OptionFields,
) -> None:
    """Make a dataset of files that lie in a bucket which the operator allowed."""
    with session.client() as client, import_progress(session) as progress:
        dataset = client.datasets.import_(
            name,
            train=train,
            validation=validation,
            test=test,
            expire_time=days(expire_days),
            wait=wait,
            progress=progress,
            **(reading | checking),
        )
    _show_made(session, name, dataset)


def _show_made(session: Session, name: str, dataset: Dataset) -> None:
    if session.json:
        session.document(dataset)
        return
    show_dataset(session, dataset)
    if dataset.state is DatasetState.READY:
        session.next_step(
            f"isogloss models create {name} --dataset {dataset.name} --watch",
            f"isogloss datasets preview {dataset.name}",
        )


def download(
    session: Session,
    *,
    dataset: Annotated[str, typer.Argument(help="datasets/ID, or ID alone.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            help="The file to write; - for standard output.", dir_okay=False, show_default=False
        ),
    ],
    split: Annotated[SplitChoice, typer.Option(help="Which rows.")] = SplitChoice.TRAIN,
    format: Annotated[  # noqa: A002 (the flag's name)
        str | None,
        typer.Option(
            help="Otherwise by the file's ending; parquet where it tells nothing, csv for -.",
            metavar="csv|jsonl|parquet",
            show_default=False,
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The file as it was uploaded; needs --keep-raw then.")
    ] = False,
) -> None:
    """Write the rows of one split into a file.

    In CSV a cell that a spreadsheet would run as a formula is written as it is.
    """
    with (
        written(session, output) as to,
        session.client() as client,
        download_progress(session) as progress,
    ):
        client.datasets.download(
            dataset_name(dataset), split=split, to=to, format=format, raw=raw, progress=progress
        )
