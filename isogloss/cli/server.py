"""`isogloss status`: how an inference server is doing."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from isogloss import Backlog, ServerStatus
from isogloss.cli.commands import command
from isogloss.cli.session import Session
from isogloss.cli.words import ago, count, duration, size


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "status",
        services=["inference"],
        examples=["isogloss status", "isogloss status --inference models.example.com:443 --json"],
    )
    def status(session: Session) -> None:
        """Tell how the inference server is doing; of several, the one that answers."""
        with session.client() as client:
            found = client.server_status()
        if session.json:
            session.document(found)
            return
        session.table(["!server", "found"], list(_facts(found)))
        session.table(
            ["model", "precision", ">memory", ">calls", "last used", "preloaded"],
            (
                [
                    model.model,
                    model.precision.lower(),
                    size(model.size_bytes),
                    str(model.call_count),
                    ago(model.last_use_time),
                    "yes" if model.preloaded else "",
                ]
                for model in found.models
            ),
        )


def _facts(status: ServerStatus) -> Iterator[tuple[str, str]]:
    engines = f", {count(status.engine_count, 'engine process')}" if status.engine_count else ""
    yield "version", f"{status.version}, started {ago(status.start_time)}"
    yield "computes on", f"{status.device}{engines}"
    yield "workers", f"{status.busy_worker_count} of {status.worker_count} busy"
    yield "waiting", f"interactive {_waiting(status.interactive)}; bulk {_waiting(status.bulk)}"
    memory = f"{size(status.model_bytes)} of {size(status.limits.model_memory_bytes)}"
    others = status.model_count - len(status.models)
    theirs = f", {others} of other tenants" if others else ""
    yield "models", f"{status.model_count} in memory, {memory}{theirs}"
    if status.store_reachable:
        yield "object store", "answers"
    else:
        yield "object store", f"has not answered for {duration(status.store_outage or 0)}"


def _waiting(backlog: Backlog) -> str:
    if not backlog.text_count:
        return "none"
    return f"{count(backlog.text_count, 'text')}, about {backlog.work:.1f} s of work"
