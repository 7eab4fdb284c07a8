"""`isogloss datasets ...`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from isogloss import Dataset, DatasetState, Finding, Severity, Split
from isogloss.cli.commands import command, dataset_name
from isogloss.cli.dataset_view import show_dataset, show_preview
from isogloss.cli.progress import upload_progress
from isogloss.cli.session import Session
from isogloss.cli.words import ago, count, short

app = typer.Typer(no_args_is_help=True, help="Upload labelled texts and look at them.")

Id = Annotated[str, typer.Argument(help="datasets/ID, or ID alone.", show_default=False)]


class SeverityChoice(StrEnum):
    """Severities as words of the command line."""

    INFO = "info"
    WARNING = "warning"
    DROPPED = "dropped"
    ERROR = "error"


_SEVERITY = {
    SeverityChoice.INFO: Severity.INFO,
    SeverityChoice.WARNING: Severity.WARNING,
    SeverityChoice.DROPPED: Severity.ROW_DROPPED,
    SeverityChoice.ERROR: Severity.ERROR,
}


@command(
    app,
    "upload",
    services=["ingest"],
    examples=[
        "isogloss datasets upload tone --train train.csv --test test.csv",
        "isogloss datasets upload tone --train rows.txt --no-header --delimiter '|'",
        "isogloss datasets upload tone --train train.csv --resume datasets/tone-k3v9qz",
    ],
)
def upload(
    session: Session,
    *,
    name: Annotated[
        str, typer.Argument(help="A name for people; need not be unique.", show_default=False)
    ],
    train: Annotated[
        Path,
        typer.Option(
            help="CSV file with a text and a label in each row.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    validation: Annotated[
        Path | None,
        typer.Option(
            help="File to score on while training. Without it: cut from --train.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="File to score the result on. Without it: cut from --train.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    has_header: Annotated[
        bool | None,
        typer.Option(
            "--has-header/--no-header",
            help="Whether the first row names the columns. Otherwise it is detected.",
            show_default=False,
        ),
    ] = None,
    delimiter: Annotated[
        str,
        typer.Option(
            help=r"One of , ; | or \t. Otherwise it is detected.",
            show_default=False,
        ),
    ] = "",
    profile: Annotated[
        str,
        typer.Option(help="Set of minimum counts that the operator configured."),
    ] = "standard",
    seed: Annotated[int | None, typer.Option(help="Seed of the split.", show_default=False)] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Dataset whose upload was interrupted; sends what is missing.",
            metavar="DATASET",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the validation.")] = True,
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
            has_header=has_header,
            delimiter=delimiter.replace("\\t", "\t"),
            profile="" if profile == "standard" else profile,
            seed=seed,
            resume=dataset_name(resume) if resume else None,
            wait=wait,
            progress=progress,
        )
    if session.json:
        session.document(dataset)
        return
    show_dataset(session, dataset)
    if dataset.state is DatasetState.READY:
        session.next_step(
            f"isogloss models create {name} --dataset {dataset.name} --watch",
            f"isogloss datasets preview {dataset.name}",
        )


@command(app, "list", services=["ingest"], examples=["isogloss datasets list"])
def list_(session: Session) -> None:
    """List all datasets, newest first."""
    with session.client() as client:
        found = list(client.datasets.list())
    if session.json:
        session.document(found)
        return
    if not found and session.rich:
        session.note("No datasets yet. Upload one: isogloss datasets upload NAME --train FILE.csv")
        return
    session.table(
        ["!name", "display name", "!state", ">rows", ">labels", ">created"],
        (
            [
                dataset.name,
                dataset.display_name,
                dataset.state,
                _rows(dataset),
                str(dataset.report.label_count) if dataset.report else "",
                ago(dataset.create_time),
            ]
            for dataset in found
        ),
    )


def _rows(dataset: Dataset) -> str:
    return str(sum(dataset.report.rows.values())) if dataset.report else ""


@command(app, "show", services=["ingest"], examples=["isogloss datasets show datasets/tone-k3v9qz"])
def show(session: Session, dataset: Id) -> None:
    """Show one dataset: how it was read, what it holds, what to mind."""
    with session.client() as client:
        found = client.datasets.get(dataset_name(dataset))
    if session.json:
        session.document(found)
    else:
        show_dataset(session, found)


@command(
    app,
    "preview",
    services=["ingest"],
    examples=["isogloss datasets preview tone-k3v9qz --rows 3"],
)
def preview(
    session: Session,
    dataset: Id,
    rows: Annotated[int, typer.Option(min=1, max=100, help="Rows of each split.")] = 5,
) -> None:
    """Show the labels and the first rows of each split."""
    with session.client() as client:
        splits = client.datasets.preview(dataset_name(dataset), rows=rows)
    if session.json:
        session.document(splits)
    else:
        show_preview(session, splits)


@command(
    app,
    "findings",
    services=["ingest"],
    examples=[
        "isogloss datasets findings tone-k3v9qz",
        "isogloss datasets findings tone-k3v9qz --severity dropped --code duplicate",
    ],
)
def findings(
    session: Session,
    dataset: Id,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Only this kind; may be repeated.", show_default=False),
    ] = None,
    severity: Annotated[
        SeverityChoice, typer.Option(help="Only what matters at least this much.")
    ] = SeverityChoice.INFO,
    limit: Annotated[int, typer.Option(min=0, help="At most this many; 0 shows all.")] = 200,
) -> None:
    """List what validation dropped, changed or warns about, with line numbers."""
    with session.client() as client:
        found: list[Finding] = []
        more = False
        for finding in client.datasets.findings(
            dataset_name(dataset), codes=code or (), min_severity=_SEVERITY[severity]
        ):
            if limit and len(found) == limit:
                more = True
                break
            found.append(finding)
    if session.json:
        session.document(found)
        return
    if not found and session.rich:
        session.note("Nothing was found.")
        return
    session.table(
        ["!split", ">line", "!severity", "!code", "message", "text"],
        (
            [
                "" if finding.split is Split.UNKNOWN else finding.split,
                str(finding.line or ""),
                finding.severity.lower().replace("_", " "),
                finding.code,
                f"{finding.message} {finding.fix}".strip(),
                short(finding.excerpt, 60) if session.rich else finding.excerpt,
            ]
            for finding in found
        ),
    )
    if more:
        session.note(f"There are more than {count(limit, 'finding')}: --limit 0 shows all.")


@command(app, "delete", services=["ingest"], examples=["isogloss datasets delete tone-k3v9qz"])
def delete(session: Session, dataset: Id) -> None:
    """Delete a dataset and all that is stored of it. Refused while models use it."""
    name = dataset_name(dataset)
    with session.client() as client:
        client.datasets.delete(name)
    if session.json:
        session.document({"deleted": name})
    else:
        session.note(f"{name} is deleted.")
