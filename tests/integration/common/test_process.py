"""A real process: how it starts, refuses to start, and stops."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*flags: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.integration.common.sample_process"]
        process = subprocess.Popen(
            [*command, "--data-directory", str(tmp_path), "--log-format", "json", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def address_of(process: subprocess.Popen[str]) -> str:
    """Read the log until the process listens."""
    assert process.stdout is not None
    for line in process.stdout:
        entry: dict[str, Any] = json.loads(line)
        if entry["event"] == "listening":
            return str(entry["address"])
    assert process.stderr is not None
    pytest.fail(process.stderr.read())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_and_stops(start: Start, number: signal.Signals) -> None:
    """Health goes first, a running call is given its time, then everything is closed."""
    process = start("--shutdown-grace", "1", "--shutdown-drain", "2")
    with grpc.insecure_channel(address_of(process)) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING

        process.send_signal(number)

        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        # While it drains, calls are still taken.
        DatasetServiceStub(channel).ListDatasets(messages.ListDatasetsRequest(), timeout=10)
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    output, errors = process.communicate(timeout=30)

    assert process.returncode == 0, errors
    assert output.splitlines()[-2] == "closed"
    assert json.loads(output.splitlines()[-1])["event"] == "stopped"
    assert errors == ""


def test_the_end_of_standard_input_stops_where_it_counts(start: Start) -> None:
    """As when whoever started it was killed: nobody is left to send a signal."""
    process = start("--stop-with-stdin")
    address_of(process)

    output, errors = process.communicate(timeout=30)

    assert process.returncode == 0, errors
    assert json.loads(output.splitlines()[-1])["event"] == "stopped"


def test_background_that_fails_ends_the_process(start: Start) -> None:
    process = start()
    address_of(process)

    _, errors = process.communicate("lost the database\n", timeout=30)

    assert process.returncode == 1
    assert "lost the database" in errors


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--store", "s3://bucket"], "needs store_access_key"),
        (["--store", "ftp://x/y"], "a store is a directory"),
        (["--address", "0.0.0.0:0"], "can be reached from other machines"),
        (["--api-keys-file", "/dev/null", "--address", "nonsense"], "is no host:port"),
    ],
)
def test_what_cannot_start_says_why_in_plain_words(
    start: Start, flags: list[str], told: str
) -> None:
    process = start(*flags)

    _, errors = process.communicate(timeout=30)

    assert process.returncode in {1, 2}
    assert told in errors
    assert "Traceback" not in errors


def test_port_that_is_taken(start: Start) -> None:
    address = address_of(start())
    second = start("--address", address)

    _, errors = second.communicate(timeout=30)

    assert second.returncode == 1
    assert "is another process there?" in errors
    assert "Traceback" not in errors
