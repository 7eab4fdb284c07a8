"""`isogloss up` and `isogloss serve` as processes, over services that only have a health."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

SERVICES = ("ingest", "trainer", "inference")

SERVICE = """
import os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

name = Path(__file__).parent.name
marks = Path(os.environ["MARKS"])
if len(sys.argv) > 1:
    print(name, *sys.argv[1:])
    sys.exit(9)
prefix = f"ISOGLOSS_{name.upper()}_"
data = Path(os.environ[prefix + "DATA_DIRECTORY"])
assert data.is_absolute()
server = grpc.server(ThreadPoolExecutor(2))
servicer = health.HealthServicer()
servicer.set("", health_pb2.HealthCheckResponse.SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
stopping = threading.Event()
if os.environ[prefix + "STOP_WITH_STDIN"] == "true":
    threading.Thread(target=lambda: (os.read(0, 1), stopping.set()), daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
server.add_insecure_port(os.environ[prefix + "ADDRESS"])
server.start()
print(name, "says hello")
while not stopping.wait(0.05):
    if (marks / f"{name}.die").exists():
        print(name, "is out of luck")
        sys.stdout.flush()
        os._exit(3)
(marks / f"{name}.stopped").touch()
"""

Up = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    marks = tmp_path / "marks"
    marks.mkdir()
    return marks


@pytest.fixture
def environment(tmp_path: Path, marks: Path) -> dict[str, str]:
    for service in SERVICES:
        package = tmp_path / "code" / "services" / service
        package.mkdir(parents=True)
        (package / "__main__.py").write_text(SERVICE)
        (package / "__init__.py").touch()
    (tmp_path / "code" / "services" / "__init__.py").touch()
    return {**os.environ, "PYTHONPATH": str(tmp_path / "code"), "MARKS": str(marks)}


@pytest.fixture
def ports() -> list[int]:
    return list(free_ports().values())


def free_ports() -> dict[str, int]:
    """Find a port for each service that nobody listens on."""
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.socket()) for name in SERVICES}
        for found in sockets.values():
            found.bind(("127.0.0.1", 0))
        return {name: int(found.getsockname()[1]) for name, found in sockets.items()}


@pytest.fixture
def up(environment: dict[str, str], ports: list[int], tmp_path: Path) -> Iterator[Up]:
    started: list[subprocess.Popen[str]] = []

    def up(*arguments: str) -> subprocess.Popen[str]:
        flags = [f"--{name}-port={port}" for name, port in zip(SERVICES, ports, strict=True)]
        process = subprocess.Popen(
            [sys.executable, "-m", "isogloss", "up", "--data", "data", *flags, *arguments],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield up
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def stopped(marks: Path) -> set[str]:
    return {path.stem for path in marks.glob("*.stopped")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_all_serve_until_a_signal_and_stop_in_good_order(
    up: Up, ports: list[int], marks: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = up("--json")
    announced = json.loads(first_line(process))

    process.send_signal(number)
    process.communicate(timeout=30)

    assert process.returncode == 0
    assert stopped(marks) == set(SERVICES)
    assert announced["addresses"] == {
        name: f"localhost:{port}" for name, port in zip(SERVICES, ports, strict=True)
    }
    log = (tmp_path / "data" / "isogloss.log").read_text()
    assert "inference inference says hello\n" in log
    assert "trainer   trainer says hello\n" in log


def test_people_are_told_where_to_go(up: Up, ports: list[int]) -> None:
    process = up("--verbose")
    table = [first_line(process) for _ in range(4)]

    process.terminate()
    _, err = process.communicate(timeout=30)

    assert table[0] == "service\taddress\n"
    assert table[3] == f"inference\tlocalhost:{ports[2]}\n"
    assert f"export ISOGLOSS_INFERENCE=localhost:{ports[2]}" in err
    assert "isogloss datasets upload NAME" in err
    assert "ingest    ingest says hello" in err


@pytest.mark.parametrize("arguments", [(), ("--verbose",)], ids=["quiet", "verbose"])
def test_a_terminal_that_is_closed_leaves_no_service_behind(
    environment: dict[str, str],
    ports: list[int],
    tmp_path: Path,
    marks: Path,
    arguments: tuple[str, ...],
) -> None:
    ours, terminal = os.openpty()
    flags = [f"--{name}-port={port}" for name, port in zip(SERVICES, ports, strict=True)]
    with subprocess.Popen(
        [sys.executable, "-m", "isogloss", "up", "--data", "data", *flags, *arguments],
        env=environment,
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        shown = b""
        while b"Running" not in shown:
            shown += os.read(ours, 4096)

        # What follows cannot be written anywhere any more.
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        process.wait(timeout=30)

    assert stopped(marks) == set(SERVICES)


def test_nohup_keeps_it_running(up: Up, marks: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = up("--json")
    finally:
        signal.signal(signal.SIGHUP, before)
    first_line(process)

    process.send_signal(signal.SIGHUP)
    (marks / "trainer.die").touch()
    process.communicate(timeout=30)

    # It outlived the signal: what ended it is the death of a service.
    assert process.returncode == 1


def test_nothing_outlives_it_where_it_is_killed(up: Up, marks: Path) -> None:
    process = up("--json")
    first_line(process)

    process.kill()
    process.wait(timeout=30)

    deadline = time.monotonic() + 30
    while stopped(marks) != set(SERVICES):
        assert time.monotonic() < deadline, f"only {stopped(marks)} stopped"
        time.sleep(0.05)


def test_one_that_dies_takes_the_others_along_and_its_last_words_are_shown(
    up: Up, marks: Path
) -> None:
    process = up()
    first_line(process)

    (marks / "trainer.die").touch()
    _, err = process.communicate(timeout=30)

    assert process.returncode == 1
    assert stopped(marks) == {"ingest", "inference"}
    assert "trainer ended with code 3" in err
    assert "trainer is out of luck" in err
    assert "isogloss.log" in err


def test_a_port_that_is_taken_is_named_before_anything_starts(
    up: Up, ports: list[int], marks: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports[1]))
        other.listen()
        process = up()
        _, err = process.communicate(timeout=30)

    assert process.returncode == 2
    assert f"{ports[1]} (--trainer-port)" in err
    assert stopped(marks) == set()


def test_serve_hands_everything_to_the_service(environment: dict[str, str], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "isogloss", "serve", "trainer", "--address", "a:1", "--help"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 9
    assert result.stdout == "trainer --address a:1 --help\n"


def test_a_client_without_the_services_says_where_they_are(tmp_path: Path) -> None:
    package = tmp_path / "services"
    package.mkdir()
    (package / "__init__.py").touch()

    result = subprocess.run(
        [sys.executable, "-m", "isogloss", "up"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 2
    assert "from a checkout" in result.stderr.replace("\n", " ")
