"""`isogloss up` and `isogloss serve`: the services as processes of this machine."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from isogloss import ConfigurationError
from isogloss.cli.commands import command, reported
from isogloss.cli.processes import Part, run
from isogloss.cli.session import Session
from isogloss.connection import Service

_PORTS: dict[Service, int] = {"ingest": 50051, "trainer": 50052, "inference": 50053}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "up", examples=["isogloss up", "isogloss up --data /srv/isogloss --verbose"])(up)
    serve = typer.Typer(
        no_args_is_help=True, help="Run one service in this process, with its own settings."
    )
    for service in _PORTS:
        _serve(serve, service)
    app.add_typer(serve, name="serve")


def up(
    session: Session,
    *,
    data: Annotated[
        Path, typer.Option(file_okay=False, help="Directory for everything that is kept.")
    ] = Path("isogloss-data"),
    ingest_port: Annotated[int, typer.Option(min=1, max=65535)] = _PORTS["ingest"],
    trainer_port: Annotated[int, typer.Option(min=1, max=65535)] = _PORTS["trainer"],
    inference_port: Annotated[int, typer.Option(min=1, max=65535)] = _PORTS["inference"],
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the logs here, too.")
    ] = False,
) -> None:
    """Run all services on this machine, reachable from it alone. Ctrl-C stops them.

    What they keep and their log is in one directory; delete it and everything is gone.
    """
    ports: dict[Service, int] = {
        "ingest": ingest_port,
        "trainer": trainer_port,
        "inference": inference_port,
    }
    root = sources()
    check_free(ports)
    parts = []
    for service, port in ports.items():
        prefix = f"ISOGLOSS_{service.upper()}_"
        environment = {
            **os.environ,
            f"{prefix}ADDRESS": f"127.0.0.1:{port}",
            f"{prefix}DATA_DIRECTORY": str(data.absolute()),
            # We hold a pipe to it: nothing outlives us, even where we are killed.
            f"{prefix}STOP_WITH_STDIN": "true",
            "PYTHONUNBUFFERED": "1",
        }
        environment.setdefault(f"{prefix}LOG_FORMAT", "console")
        parts.append(
            Part(
                name=service,
                address=f"localhost:{port}",
                command=(sys.executable, "-m", f"services.{service}"),
                environment=environment,
                directory=root,
            )
        )
    run(session, parts, data=data, verbose=verbose)


def check_free(ports: Mapping[Service, int]) -> None:
    """See that nobody else listens: a stranger's health would pass for ours.

    Raises:
        ConfigurationError: A port is taken.
    """
    taken = []
    for service, port in ports.items():
        with socket.socket() as probe:
            # As servers do it: what is left of a closed connection does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(f"{port} (--{service}-port)")
    if taken:
        raise ConfigurationError(
            f"Other programs listen on {', '.join(taken)}. Is the suite running already? "
            "`isogloss doctor` looks. Otherwise choose other ports."
        )


def sources() -> Path:
    """Find the directory that holds the services.

    Raises:
        ConfigurationError: This is a client only; services run from a checkout or a container.
    """
    found = importlib.util.find_spec("services")
    places = list(found.submodule_search_locations or ()) if found else []
    for place in places:
        if (Path(place) / "ingest" / "__main__.py").is_file():
            return Path(place).parent
    raise ConfigurationError(
        "The services are not installed here: the package holds the client only. Run them from a "
        "checkout (make install, then isogloss up in it) or from the containers."
    )


def _serve(app: typer.Typer, service: Service) -> None:
    @app.command(
        service,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        help=f"Run the {service} service; its --help lists the settings.",
    )
    def serve(context: typer.Context) -> None:
        with reported(Session()):
            root = sources()
        # The service takes the place of this process: signals and exit code are its own.
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
        command_line = [sys.executable, "-m", f"services.{service}", *context.args]
        os.execve(sys.executable, command_line, {**os.environ, "PYTHONPATH": path})  # noqa: S606 (no shell)
