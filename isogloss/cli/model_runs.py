"""`isogloss models pause|resume|update|events|metrics`: runs, steered and looked back at."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from isogloss import EventKind, LogLine, Model, ModelEvent, ModelState, StateChange, StepMetrics
from isogloss.cli.commands import command, model_name
from isogloss.cli.session import Session
from isogloss.cli.training_view import metrics_table

Id = Annotated[str, typer.Argument(help="models/ID, or ID alone.", show_default=False)]

_MOST_ROWS = 10_000


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, function, examples in (
        ("pause", pause, ["isogloss models pause tone-9x4kdp"]),
        ("resume", resume, ["isogloss models resume tone-9x4kdp"]),
        ("update", update, ["isogloss models update tone-9x4kdp --name 'tone, May'"]),
        (
            "events",
            events,
            [
                "isogloss models events tone-9x4kdp",
                "isogloss models events tone-9x4kdp --kind log_line --json",
            ],
        ),
        ("metrics", metrics, ["isogloss models metrics tone-9x4kdp"]),
    ):
        command(app, name, services=["trainer"], examples=examples)(function)


def pause(session: Session, model: Id) -> None:
    """Pause a model that is queued or training; what it has learnt is kept."""
    with session.client() as client:
        found = client.models.pause(model_name(model))
    if session.json:
        session.document(found)
        return
    if found.state is ModelState.TRAINING:
        session.note(f"{found.name} stops at its next step.")
    else:
        session.note(f"{found.name} is {found.state.lower()}.")
    session.next_step(f"isogloss models resume {found.name}")


def resume(session: Session, model: Id) -> None:
    """Queue a paused model again; its training goes on where it was."""
    with session.client() as client:
        found = client.models.resume(model_name(model))
    if session.json:
        session.document(found)
        return
    session.note(f"{found.name} is {found.state.lower()}{_place(found)}.")
    session.next_step(f"isogloss models watch {found.name}")


def update(
    session: Session,
    *,
    model: Id,
    name: Annotated[
        str | None, typer.Option(help="A new name for people.", show_default=False)
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Where its end is told, at a host that the operator allows; '' for nowhere.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Change the name or the webhook of a model; what it learnt never changes."""
    if name is None and webhook is None:
        raise typer.BadParameter("Give --name or --webhook.")
    with session.client() as client:
        found = client.models.update(model_name(model), display_name=name, webhook_uri=webhook)
    if session.json:
        session.document(found)
    else:
        session.note(f"{found.name} is called {found.display_name!r}.")


def events(
    session: Session,
    *,
    model: Id,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Only events of this kind: state_change, step_metrics or log_line; may be "
            "given several times.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """List what happened to a model, oldest first, with times and who caused it."""
    kinds = [one.upper() for one in kind or ()]
    with session.client() as client:
        found = list(client.models.events(model_name(model), kinds=kinds))
    if session.json:
        session.document(found)
        return
    session.table(
        [">#", "!time", "by", ">attempt", "!what"],
        (
            [
                str(event.sequence),
                f"{event.create_time:%Y-%m-%d %H:%M:%S}" if event.create_time else "",
                event.actor,
                str(event.attempt),
                _told(event),
            ]
            for event in found
        ),
    )


def metrics(session: Session, model: Id) -> None:
    """List the measurements on held-out rows, the untrained baseline first."""
    with session.client() as client:
        found = list(client.models.step_metrics(model_name(model)))
    if session.json:
        session.document(found)
    elif not found:
        session.note("Nothing was measured yet.")
    elif session.rich:
        session.out.print(metrics_table(found, most=_MOST_ROWS))
    else:
        session.table(
            ["step", "epoch", "loss", "accuracy", "precision", "recall", "f1", "train_loss"],
            (_plain(measured) for measured in found),
        )


def _told(event: ModelEvent) -> Text:
    match event.detail:
        case StateChange() as change:
            return Text(f"{change.state}: {change.reason}" if change.reason else change.state)
        case StepMetrics() as measured:
            return Text(
                f"step {measured.step}: loss {measured.loss:.4f}, "
                f"accuracy {measured.accuracy:.4f}, F1 {measured.f1:.4f}"
            )
        case LogLine() as line:
            style = {"warning": "yellow", "error": "red"}.get(line.level, "dim")
            return Text(f"{line.level}: {line.message}", style)
    return Text(f"({EventKind.UNKNOWN.lower()})")


def _plain(measured: StepMetrics) -> list[str]:
    numbers = (measured.loss, measured.accuracy, measured.precision, measured.recall, measured.f1)
    learnt = "" if measured.train_loss is None else f"{measured.train_loss:.4f}"
    return [
        str(measured.step),
        f"{measured.epoch:.2f}",
        *(f"{number:.4f}" for number in numbers),
        learnt,
    ]


def _place(model: Model) -> str:
    return f", place {model.queue_position} in the queue" if model.queue_position else ""
