"""The scripted suite, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from typer.testing import CliRunner, Result

from isogloss import AsyncClient, Client
from isogloss.cli.app import app
from tests.integration.client.running import Run
from tests.integration.client.scripted import Scripted, Suite


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INGEST", "TRAINER", "INFERENCE", "API_KEY", "TLS_CA", "DEBUG"):
        monkeypatch.delenv(f"ISOGLOSS_{name}", raising=False)


@pytest.fixture
def suite() -> Iterator[Suite]:
    suite = Suite(Scripted())
    yield suite
    suite.script.hold.set()
    suite.stop()


@pytest.fixture
def script(suite: Suite) -> Scripted:
    return suite.script


@pytest.fixture
def client(suite: Suite) -> Iterator[Client]:
    where = suite.address
    with Client(ingest=where, trainer=where, inference=where) as client:
        yield client


@pytest.fixture
async def async_client(suite: Suite) -> AsyncIterator[AsyncClient]:
    where = suite.address
    async with AsyncClient(ingest=where, trainer=where, inference=where) as client:
        yield client


@pytest.fixture
def run(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("INGEST", "TRAINER", "INFERENCE"):
        monkeypatch.setenv(f"ISOGLOSS_{name}", suite.address)

    def run(*arguments: str, terminal: bool = False, stdin: str | bytes | None = None) -> Result:
        env = {"FORCE_COLOR": "1" if terminal else None, "COLUMNS": "160", "TERM": "xterm"}
        return CliRunner().invoke(app, arguments, input=stdin, env=env)

    return run
