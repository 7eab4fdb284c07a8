"""Registers commands: adds the options that all share, and turns errors into exit codes."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from isogloss import ConnectionOptions, DatasetRefused, IsoglossError, ServerError
from isogloss.cli.document import dumps
from isogloss.cli.exits import ExitCode, exit_code
from isogloss.cli.session import Session
from isogloss.connection import DEFAULT_ADDRESSES, Service

_CONNECTION = "Connection"


class Terminated(KeyboardInterrupt):
    """SIGTERM: what Ctrl-C is to a person, from a program."""


class Stop(Exception):
    """Ends a command with a code; everything was said already."""

    def __init__(self, code: ExitCode) -> None:
        """Keep the code."""
        super().__init__(code)
        self.code = code


def _json(
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, and nothing else on standard output.")
    ] = False,
) -> None: ...


def _tls_ca(
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            help="Certificate authority of the servers; turns TLS on.",
            envvar="ISOGLOSS_TLS_CA",
            rich_help_panel=_CONNECTION,
            show_default=False,
        ),
    ] = None,
) -> None: ...


def _address(service: Service) -> inspect.Parameter:
    option = typer.Option(
        f"--{service}",
        metavar="HOST:PORT",
        help=f"Address of the {service} service, with https:// for TLS.",
        envvar=f"ISOGLOSS_{service.upper()}",
        rich_help_panel=_CONNECTION,
    )
    return inspect.Parameter(
        service,
        inspect.Parameter.KEYWORD_ONLY,
        default=DEFAULT_ADDRESSES[service],
        annotation=Annotated[str, option],
    )


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    found = inspect.signature(function, eval_str=True).parameters.values()
    return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in found]


def command(
    app: typer.Typer,
    name: str,
    *,
    services: Sequence[Service] = (),
    shared: Sequence[Callable[..., object]] = (),
    examples: Sequence[str],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command.

    The function's first parameter is the `Session`; `--json` and the connection's options are
    added to its own.

    Args:
        app: Where to register it.
        name: The command's name.
        services: Which addresses it can be told.
        shared: Functions whose parameters become options; the command has a parameter of each
            one's name, and is given what it returns.
        examples: Command lines that its help shows.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        groups = {group.__name__: (group, _parameters(group)) for group in shared}
        own = [one for one in _parameters(function)[1:] if one.name not in groups]
        general = _parameters(_json)
        connection = [_address(service) for service in services]
        if services:
            connection += _parameters(_tls_ca)

        def run(**values: Any) -> None:  # noqa: ANN401 (typer calls it with what it parsed)
            options = ConnectionOptions()
            for parameter in connection:
                if (value := values.pop(parameter.name)) is not None:
                    options[parameter.name] = value  # type: ignore[literal-required] # named for the options
            session = Session(json=values.pop("json"), options=options)
            for argument, (group, taken) in groups.items():
                values[argument] = group(**{one.name: values.pop(one.name) for one in taken})
            with reported(session):
                function(session, **values)

        grouped = [parameter for _, taken in groups.values() for parameter in taken]
        parameters = own + grouped + general + connection
        run.__doc__ = _flowing(inspect.getdoc(function) or "")
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # read by inspect.signature
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        lines = [f"  [cyan]{example}[/cyan]" for example in examples]
        app.command(name, epilog="\n".join(["Examples:", *lines]))(run)
        return function

    return register


def _flowing(text: str) -> str:
    """Put each paragraph on one line: the terminal's width decides where it breaks."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


@contextmanager
def reported(session: Session) -> Iterator[None]:
    """Turn what goes wrong into one clear message and an exit code, never a traceback.

    `ISOGLOSS_DEBUG=1` shows the traceback.
    """
    try:
        yield
    except Stop as stop:
        raise typer.Exit(stop.code) from None
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, Terminated)
        raise typer.Exit(ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED) from None
    except IsoglossError as error:
        if os.environ.get("ISOGLOSS_DEBUG"):
            raise
        report(session, error)
        raise typer.Exit(exit_code(error)) from None
    except BrokenPipeError:
        raise  # `isogloss ... | head`: whoever read has seen enough; typer ends quietly
    except OSError as error:
        if os.environ.get("ISOGLOSS_DEBUG"):
            raise
        name = f"{error.filename}: " if error.filename else ""
        session.err.print(f"[bold red]Error:[/bold red] {name}{error.strerror or error}")
        raise typer.Exit(ExitCode.USAGE) from None


def report(session: Session, error: IsoglossError) -> None:
    """Say what went wrong: the message, every violation, and what may help."""
    if session.json:
        sys.stderr.write(dumps({"error": error}) + "\n")
        return
    message, listed = error.message, error.violations
    if listed and message.startswith(f"{listed[0].field}: "):
        # The message is the first violation: say it once, alone or in the list.
        if len(listed) == 1:
            listed = ()
        else:
            message = f"{len(listed)} things are wrong:"
    session.err.print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)
    for violation in (one for one in listed if one.description != message):
        line = Text.assemble("  - ", (violation.field, "bold"), ": ", violation.description)
        session.err.print(line, soft_wrap=True)
    if isinstance(error, ServerError) and error.request_id not in message:
        session.err.print(f"  The server's log has more under the request id {error.request_id}.")
    if error.retry_after:
        session.err.print(f"  Try again in {error.retry_after:g} s.")
    if isinstance(error, DatasetRefused):
        name = error.metadata["name"]
        session.err.print(f"  With line numbers: isogloss datasets findings {name}")
    elif error.message.startswith("No secure connection"):
        session.err.print(Text(f"  {TLS_HINT}", "dim"), soft_wrap=True)
    elif hint := _HINTS.get(error.reason) or _HINTS.get("" if error.reason else error.code.name):
        session.err.print(Text.assemble(("  ", ""), (hint, "dim")), soft_wrap=True)


TLS_HINT = (
    "Is the authority right (--tls-ca), does the certificate name this address, and does the "
    "server speak TLS at all?"
)

_HINTS = {
    "CREDENTIALS_MISSING": "Set ISOGLOSS_API_KEY to the key that the operator gave you.",
    "CREDENTIALS_INVALID": "ISOGLOSS_API_KEY holds a key that this server does not know.",
    "STORE_UNSUITABLE": "`isogloss datasets upload`, without --direct, sends the bytes through the "
    "service.",
    "QUOTA_EXCEEDED": "`isogloss datasets usage` tells what is stored, `isogloss datasets list` "
    "what could be deleted.",
    "UNAVAILABLE": "Is it running? `isogloss up` starts all on this machine, `isogloss doctor` "
    "looks for the fault.",
}


def dataset_name(name: str) -> str:
    """Complete the id of a dataset to its full name, a courtesy of the command line only."""
    return name if "/" in name else f"datasets/{name}"


def model_name(name: str) -> str:
    """Complete the id of a model to its full name."""
    return name if "/" in name else f"models/{name}"


def base_name(name: str) -> str:
    """Complete the id of a base model to its full name."""
    return name if "/" in name else f"baseModels/{name}"


def alias_name(name: str) -> str:
    """Complete the id of an alias to its full name."""
    return name if "/" in name else f"aliases/{name}"
