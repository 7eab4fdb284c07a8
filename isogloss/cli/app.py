"""Puts the commands together."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Annotated, NoReturn

import typer

from isogloss.cli import (
    aliases,
    classify,
    datasets,
    doctor,
    embed,
    models,
    server,
    suite,
    tokenize,
    version,
)
from isogloss.cli.commands import Terminated
from isogloss.cli.exits import MEANING

_EXITS = "\n".join(f"  [bold]{code.value:>3}[/bold]  {text}" for code, text in MEANING.items())

_HELP = """Fine-tune a text encoder on your own labels, and serve it.

Start here:
  [cyan]isogloss up[/cyan]
  [cyan]isogloss datasets upload NAME --train FILE.csv[/cyan]
  [cyan]isogloss models create NAME --dataset DATASET --watch[/cyan]
  [cyan]isogloss classify --model MODEL "a text"[/cyan]

Every command takes --json. Tables are tab-separated where they are piped.
An API key is read from ISOGLOSS_API_KEY."""

app = typer.Typer(
    name="isogloss",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog=f"Exit codes:\n{_EXITS}",
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 (typer calls it so)
    if asked:
        typer.echo(f"isogloss {version.client_version()}")
        raise typer.Exit


@app.callback(help=_HELP)
def root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Carry the help of the command as a whole."""


suite.register(app)
app.add_typer(datasets.app, name="datasets")
app.add_typer(models.app, name="models")
app.add_typer(aliases.app, name="aliases")
embed.register(app)
classify.register(app)
tokenize.register(app)
server.register(app)
doctor.register(app)
version.register(app)


def main() -> None:
    """Run the command."""
    signal.signal(signal.SIGTERM, _terminate)
    app()


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise Terminated
