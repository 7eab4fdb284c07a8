"""`isogloss aliases ...`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from isogloss import Alias, AliasVersion
from isogloss.cli.commands import alias_name, command, model_name
from isogloss.cli.session import Session
from isogloss.cli.words import ago

app = typer.Typer(
    no_args_is_help=True, help="Give models names that move, switch them and go back."
)

Name = Annotated[
    str, typer.Argument(metavar="ALIAS", help="aliases/ID, or ID alone.", show_default=False)
]
Expected = Annotated[
    int | None,
    typer.Option(
        "--expect",
        metavar="VERSION",
        min=0,
        help="Only if this is its current version, 0 being none.",
        show_default=False,
    ),
]


@command(
    app,
    "set",
    services=["trainer"],
    examples=[
        "isogloss aliases set reviews tone-9x4kdp",
        "isogloss aliases set reviews tone-9x4kdp --preload --expect 3",
    ],
)
def set_(
    session: Session,
    *,
    alias: Name,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="What it is to stand for: models/ID, or ID alone.",
            show_default=False,
        ),
    ],
    preload: Annotated[
        bool | None,
        typer.Option(
            help="Load the model ahead, on every inference server. Otherwise as it was.",
            show_default=False,
        ),
    ] = None,
    expect: Expected = None,
) -> None:
    """Let an alias stand for a READY model, whether the alias existed or not.

    Servers follow within two seconds or so, and serve the old model until the new one is loaded.
    """
    with session.client() as client:
        found = client.aliases.set(
            alias_name(alias), model_name(model), preload=preload, expected_version=expect
        )
    _show(session, found)
    session.next_step(f'isogloss classify --model {found.name} "a text of your own"')


@command(app, "get", services=["trainer"], examples=["isogloss aliases get reviews"])
def get(session: Session, alias: Name) -> None:
    """Tell what an alias stands for."""
    with session.client() as client:
        found = client.aliases.get(alias_name(alias))
    _show(session, found)


@command(app, "list", services=["trainer"], examples=["isogloss aliases list"])
def list_(session: Session) -> None:
    """List all aliases, by name."""
    with session.client() as client:
        found = list(client.aliases.list())
    if session.json:
        session.document(found)
    elif not found and session.rich:
        session.note("No aliases yet. Make one: isogloss aliases set NAME MODEL")
    else:
        _table(session, found)


@command(app, "history", services=["trainer"], examples=["isogloss aliases history reviews"])
def history(session: Session, alias: Name) -> None:
    """Show what an alias stood for, newest first: who switched it, when, from what to what."""
    with session.client() as client:
        found = list(client.aliases.history(alias_name(alias)))
    if session.json:
        session.document(found)
        return
    session.table(
        [">version", "!model", "!before", "preload", "what", "by", ">when"],
        (
            [
                str(version.version),
                version.model,
                version.previous_model,
                _yes(version.preload),
                _what(version),
                version.actor,
                ago(version.create_time),
            ]
            for version in found
        ),
    )


@command(
    app,
    "rollback",
    services=["trainer"],
    examples=["isogloss aliases rollback reviews", "isogloss aliases rollback reviews --to 2"],
)
def rollback(
    session: Session,
    *,
    alias: Name,
    to: Annotated[
        int, typer.Option(min=0, help="The version to go back to. 0: the one before.")
    ] = 0,
    expect: Expected = None,
) -> None:
    """Set an alias to what it was; brings a deleted one back."""
    with session.client() as client:
        found = client.aliases.rollback(alias_name(alias), version=to, expected_version=expect)
    _show(session, found)


@command(app, "delete", services=["trainer"], examples=["isogloss aliases delete reviews"])
def delete(session: Session, *, alias: Name, expect: Expected = None) -> None:
    """Delete an alias; the model stays, and `rollback` brings the alias back."""
    name = alias_name(alias)
    with session.client() as client:
        client.aliases.delete(name, expected_version=expect)
    if session.json:
        session.document({"deleted": name})
    else:
        session.note(f"{name} is deleted.")


def _show(session: Session, found: Alias) -> None:
    if session.json:
        session.document(found)
    else:
        _table(session, [found])


def _table(session: Session, found: list[Alias]) -> None:
    session.table(
        ["!name", "!model", "preload", ">version", "by", ">switched"],
        (
            [
                Text(alias.name, "bold"),
                alias.model,
                _yes(alias.preload),
                str(alias.version),
                alias.actor,
                ago(alias.update_time),
            ]
            for alias in found
        ),
    )


def _what(version: AliasVersion) -> str:
    if not version.model:
        return "deleted"
    if version.restored_version:
        return f"back to {version.restored_version}"
    return "switched" if version.previous_model else "made"


def _yes(value: bool) -> str:  # noqa: FBT001 (the one thing that it says)
    return "yes" if value else ""
