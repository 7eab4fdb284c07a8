"""`isogloss datasets ...`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from isogloss import Dataset, Finding, Severity
from isogloss.cli import dataset_files
from isogloss.cli.commands import command, dataset_name
from isogloss.cli.dataset_flags import MAX_DAYS, days
from isogloss.cli.dataset_view import show_dataset, show_diff, show_preview, show_usage
from isogloss.cli.findings_view import show_findings
from isogloss.cli.output import written
from isogloss.cli.progress import download_progress
from isogloss.cli.session import Session
from isogloss.cli.words import ago, count

app = typer.Typer(no_args_is_help=True, help="Upload labelled texts and look at them.")
dataset_files.register(app)

Id = Annotated[str, typer.Argument(help="datasets/ID, or ID alone.", show_default=False)]


class SeverityChoice(StrEnum):
    """Severities as words of the command line."""

    INFO = "info"
    WARNING = "warning"
    DROPPED = "dropped"
    ERROR = "error"


class StateChoice(StrEnum):
    """States as words of the command line."""

    UPLOADING = "uploading"
    VALIDATING = "validating"
    READY = "ready"
    FAILED = "failed"


_SEVERITY = {
    SeverityChoice.INFO: Severity.INFO,
    SeverityChoice.WARNING: Severity.WARNING,
    SeverityChoice.DROPPED: Severity.ROW_DROPPED,
    SeverityChoice.ERROR: Severity.ERROR,
}


@command(
    app,
    "list",
    services=["ingest"],
    examples=["isogloss datasets list", "isogloss datasets list --state failed --query tone"],
)
def list_(
    session: Session,
    state: Annotated[
        list[StateChoice] | None,
        typer.Option(help="Only in this state; may be repeated.", show_default=False),
    ] = None,
    query: Annotated[
        str, typer.Option(help="Only with this in the display name.", show_default=False)
    ] = "",
) -> None:
    """List datasets, newest first."""
    states = [choice.name for choice in state or ()]
    with session.client() as client:
        found = list(client.datasets.list(states=states, query=query))
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
    *,
    dataset: Id,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Only this kind; may be repeated.", show_default=False),
    ] = None,
    severity: Annotated[
        SeverityChoice, typer.Option(help="Only what matters at least this much.")
    ] = SeverityChoice.INFO,
    limit: Annotated[int, typer.Option(min=0, help="At most this many; 0 shows all.")] = 200,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write every finding into this file instead: .csv, .jsonl or .parquet; - writes "
            "CSV to standard output.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """List what validation dropped, changed or warns about, with line numbers."""
    if output is not None:
        _write_findings(
            session,
            dataset_name(dataset),
            output,
            filtered=bool(code) or severity is not SeverityChoice.INFO,
        )
        return
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
    show_findings(session, found)
    if more:
        session.note(
            f"There are more than {count(limit, 'finding')}: --limit 0 shows all, --output FILE "
            "writes all."
        )


def _write_findings(session: Session, dataset: str, output: Path, *, filtered: bool) -> None:
    if filtered:
        raise typer.BadParameter("--output writes every finding: leave --code and --severity out.")
    with (
        written(session, output) as to,
        session.client() as client,
        download_progress(session) as progress,
    ):
        client.datasets.download_findings(dataset, to=to, progress=progress)


@command(
    app,
    "diff",
    services=["ingest"],
    examples=["isogloss datasets diff tone-k3v9qz tone-8m2xwa --rows 3"],
)
def diff(
    session: Session,
    base: Annotated[str, typer.Argument(help="The dataset before.", show_default=False)],
    other: Annotated[str, typer.Argument(help="The dataset after.", show_default=False)],
    rows: Annotated[int, typer.Option(min=1, max=100, help="Rows of each kind.")] = 5,
) -> None:
    """Tell which texts and labels were added, removed, relabelled or moved."""
    with session.client() as client:
        found = client.datasets.diff(dataset_name(base), dataset_name(other), rows=rows)
    if session.json:
        session.document(found)
    else:
        show_diff(session, found)


@command(
    app,
    "update",
    services=["ingest"],
    examples=[
        "isogloss datasets update tone-k3v9qz --name 'tone, March'",
        "isogloss datasets update tone-k3v9qz --expire-days 30",
    ],
)
def update(
    session: Session,
    *,
    dataset: Id,
    name: Annotated[
        str | None, typer.Option(help="A new name for people.", show_default=False)
    ] = None,
    expire_days: Annotated[
        float | None,
        typer.Option(
            help="Delete it by itself after so many days from now.",
            min=0.0,
            max=MAX_DAYS,
            metavar="DAYS",
            show_default=False,
        ),
    ] = None,
    never_expire: Annotated[
        bool, typer.Option("--never-expire", help="Do not delete it by itself.")
    ] = False,
) -> None:
    """Change the name or the end of a dataset; its rows never change."""
    if never_expire and expire_days is not None:
        raise typer.BadParameter("Give --expire-days or --never-expire, not both.")
    if name is None and expire_days is None and not never_expire:
        raise typer.BadParameter("Give --name, --expire-days or --never-expire.")
    expiry: Literal["never"] | None = "never" if never_expire else None
    with session.client() as client:
        found = client.datasets.update(
            dataset_name(dataset), display_name=name, expire_time=expiry or days(expire_days)
        )
    if session.json:
        session.document(found)
    else:
        show_dataset(session, found)


@command(app, "usage", services=["ingest"], examples=["isogloss datasets usage"])
def usage(session: Session) -> None:
    """Tell what is stored, and how much may be."""
    with session.client() as client:
        found = client.datasets.usage()
    if session.json:
        session.document(found)
    else:
        show_usage(session, found)


@command(
    app,
    "delete",
    services=["ingest"],
    examples=[
        "isogloss datasets delete tone-k3v9qz",
        "isogloss datasets delete tone-k3v9qz --purge",
    ],
)
def delete(
    session: Session,
    *,
    dataset: Id,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            help="Although finished models use it, whose copies of texts go too. The models stay.",
        ),
    ] = False,
) -> None:
    """Delete a dataset and all that is stored of it. Refused while models use it."""
    name = dataset_name(dataset)
    with session.client() as client:
        client.datasets.delete(name, purge=purge)
    if session.json:
        session.document({"deleted": name})
    else:
        session.note(f"{name} is deleted.")
