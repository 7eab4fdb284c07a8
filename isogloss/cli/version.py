"""`isogloss version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import typer

from isogloss.cli.commands import command
from isogloss.cli.session import Session


def client_version() -> str:
    """Give the installed version of this package; `unknown` where it runs from its sources."""
    try:
        return installed_version("isogloss")
    except PackageNotFoundError:
        return "unknown"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "version", examples=["isogloss version"])
    def version(session: Session) -> None:
        """Print the versions of this client and of what it stands on."""
        found = {
            "isogloss": client_version(),
            "python": platform.python_version(),
            "grpcio": installed_version("grpcio"),
            "protobuf": installed_version("protobuf"),
        }
        if session.json:
            session.document(found)
        else:
            for name, number in found.items():
                session.out.print(f"{name} {number}")
