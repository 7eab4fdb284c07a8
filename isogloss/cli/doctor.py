"""`isogloss doctor`: looks at each service and says what to do about what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc
import typer
from rich.text import Text

from isogloss import (
    Client,
    DeadlineExceeded,
    InvalidArgument,
    IsoglossError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from isogloss.cli.commands import TLS_HINT, Stop, command
from isogloss.cli.exits import ExitCode
from isogloss.cli.health import serves
from isogloss.cli.session import Session
from isogloss.cli.version import client_version
from isogloss.connection import CHANNEL_OPTIONS, Connection, Service, resolve

SECONDS = 5.0
"""Time that each look may take."""

_SERVICES: dict[Service, str] = {
    "ingest": "isogloss.v1.DatasetService",
    "trainer": "isogloss.v1.ModelService",
    "inference": "isogloss.v1.InferenceService",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    service: str
    what: str
    ok: bool
    found: str
    tip: str = ""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "doctor",
        services=["ingest", "trainer", "inference"],
        examples=["isogloss doctor", "isogloss doctor --inference https://models.example.com:443"],
    )
    def doctor(session: Session) -> None:
        """Look at every service and say what to do about what is wrong.

        Fails where any check fails.
        """
        connection = resolve(session.options)
        checks = [check for service in _SERVICES for check in examine(service, connection, session)]
        ok = all(check.ok for check in checks)
        if session.json:
            session.document({"ok": ok, "client_version": client_version(), "checks": checks})
        else:
            show(session, connection, checks)
        if not ok:
            raise Stop(ExitCode.FAILED)


def show(session: Session, connection: Connection, checks: list[Check]) -> None:
    """Print the checks, and a tip below each that failed."""
    key = "set" if connection.api_key else "not set"
    session.note(f"isogloss {client_version()}, ISOGLOSS_API_KEY {key}")
    if not session.rich:
        for check in checks:
            session.line("ok" if check.ok else "failed", check.service, check.what, check.found)
            if check.tip:
                session.line("tip", check.service, check.what, check.tip)
        return
    for check in checks:
        mark = Text("✓ ", "bold green") if check.ok else Text("✗ ", "bold red")
        session.out.print(mark + Text(f"{check.service:<10} {check.what:<8} {check.found}"))
        if check.tip:
            session.out.print(Text(f"    {check.tip}", "yellow"), soft_wrap=True)


def examine(service: Service, connection: Connection, session: Session) -> list[Check]:
    """Look at one service: is it there, does it serve, does it let us in."""
    endpoint = connection.endpoints[service]
    where = f"{endpoint.target} ({'TLS' if endpoint.tls else 'plain'})"
    try:
        healthy = _health(service, connection)
    except IsoglossError as error:
        return [
            Check(
                service=service,
                what="reach",
                ok=False,
                found=f"{where}: {error.message}",
                tip=_tip(service, error, tls=endpoint.tls, loopback=endpoint.loopback),
            )
        ]
    reach = Check(service=service, what="reach", ok=True, found=where)
    if not healthy:
        tip = "It is starting or stopping: look again in a moment, then into its log."
        return [
            reach,
            Check(service=service, what="health", ok=False, found="not serving", tip=tip),
        ]
    health = Check(service=service, what="health", ok=True, found="serving")
    return [reach, health, _access(service, session)]


def _health(service: Service, connection: Connection) -> bool:
    endpoint = connection.endpoints[service]
    channel = (
        grpc.secure_channel(endpoint.target, connection.credentials(), CHANNEL_OPTIONS)
        if endpoint.tls
        else grpc.insecure_channel(endpoint.target, CHANNEL_OPTIONS)
    )
    with channel:
        return serves(channel, _SERVICES[service], seconds=SECONDS)


def _access(service: Service, session: Session) -> Check:
    """Make the cheapest call that needs the key."""
    calls: dict[Service, Callable[[Client], object]] = {
        "ingest": lambda client: next(iter(client.datasets.list(timeout=SECONDS)), None),
        "trainer": lambda client: list(client.models.bases(timeout=SECONDS)),
        # No text: a server that lets us in says that one is needed, and loads nothing.
        "inference": lambda client: client.embed("baseModels/small", [], timeout=SECONDS),
    }
    try:
        with session.client() as client:
            calls[service](client)
    except (InvalidArgument, NotFound):
        pass
    except (Unauthenticated, PermissionDenied) as error:
        tip = "Set ISOGLOSS_API_KEY to a key that this server knows."
        return Check(service=service, what="access", ok=False, found=error.message, tip=tip)
    except IsoglossError as error:
        tip = "Look into the log of the service."
        return Check(service=service, what="access", ok=False, found=error.message, tip=tip)
    return Check(service=service, what="access", ok=True, found="lets us in")


def _tip(service: Service, error: IsoglossError, *, tls: bool, loopback: bool) -> str:
    text = error.message.lower()
    if not tls and "socket closed" in text:
        return "Somebody listens there who may want TLS: write the address as https://HOST:PORT."
    if "no secure connection" in text:
        return TLS_HINT
    if isinstance(error, Unavailable) and loopback and not tls:
        return (
            "Nothing listens there. Start all services with `isogloss up`, or name the address "
            f"with --{service} or ISOGLOSS_{service.upper()}."
        )
    if isinstance(error, DeadlineExceeded | Unavailable):
        return f"Check the address (--{service} or ISOGLOSS_{service.upper()}), the firewall" + (
            ", and whether the server speaks TLS." if tls else ", and whether it wants https://."
        )
    return "Is this address one of Isogloss?"
