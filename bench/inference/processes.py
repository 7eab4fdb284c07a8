"""Processes of a benchmark: contenders that answer lines of JSON, and servers on free ports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
import psutil

from isogloss import IsoglossError
from isogloss.cli.health import serves

START_SECONDS = 120.0
STOP_SECONDS = 40.0

QUIET = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
"""What every contender runs with: no thread spins at another's cost, nothing calls home."""

Answer = dict[str, Any]


class ContenderFailed(RuntimeError):
    """A contender ended instead of answering."""


class Contender:
    """A process that answers each line of JSON with one, after a first line that says it is ready.

    Args:
        command: Program and arguments.
        name: What to call it where it fails.
    """

    def __init__(self, command: Sequence[str], *, name: str) -> None:
        """Start it and wait until it is ready."""
        self._name = name
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed at the exit)
        self._process = subprocess.Popen(
            command,
            env=os.environ | QUIET,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self.ready = self._read()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def ask(self, question: Mapping[str, Any]) -> Answer:
        """Send a line and return the answer.

        Raises:
            ContenderFailed: Where the process ends without one.
        """
        assert self._process.stdin is not None  # noqa: S101 (a pipe by construction)
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its last words are read below
        return self._read()

    def _read(self) -> Answer:
        assert self._process.stdout is not None  # noqa: S101 (a pipe by construction)
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._said.seek(0)
            words = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise ContenderFailed(f"{self._name} ended: {' '.join(words) or 'without a word'}")
        answer: Answer = json.loads(line)
        return answer


def free_port() -> int:
    """Find a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours."""
    return [sys.executable, "-m", name, *arguments]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An inference server that runs."""

    address: str
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self.process.pid

    def memory(self) -> int:
        """Resident bytes of the process and its children."""
        return sum(process.memory_info().rss for process in family(self.pid))


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    head = psutil.Process(pid)
    return [head, *head.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and of its living children."""
    times = [process.cpu_times() for process in family(pid)]
    return sum(time.user + time.system for time in times)


@contextmanager
def serving(
    data: Path,
    *,
    address: str = "",
    before: Sequence[str] = (),
    **settings: object,
) -> Iterator[Server]:
    """Run an inference server on the CPU and end it.

    Args:
        data: Its data directory.
        address: Where it listens; a free port of loopback where none is given.
        before: What its command line begins with, such as `taskset -c 0`.
        settings: Names as in `InferenceSettings`.
    """
    server = start(data, address=address, before=before, **settings)
    try:
        yield server
    finally:
        stop(server)


def start(
    data: Path, *, address: str = "", before: Sequence[str] = (), **settings: object
) -> Server:
    """Start a server and wait until its health says SERVING."""
    address = address or f"127.0.0.1:{free_port()}"
    given = {
        "address": address,
        "data_directory": data,
        "device": "cpu",
        "log_level": "error",
        **settings,
    }
    flags = [part for name, value in given.items() for part in (_flag(name), str(value))]
    process = subprocess.Popen(
        [*before, *module("services.inference", *flags)],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        stderr=sys.stderr.fileno(),
    )
    server = Server(address=address, process=process)
    try:
        wait_until_serving(server)
    except BaseException:
        stop(server)
        raise
    return server


def stop(server: Server) -> None:
    """End a server as an operator does, and as a kernel does where that is too slow."""
    server.process.terminate()
    try:
        server.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


def wait_until_serving(server: Server) -> None:
    """Wait until the server's health says SERVING.

    Raises:
        ContenderFailed: Where it ends, or takes too long.
    """
    end = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(server.address) as channel:
        while time.monotonic() < end and server.process.poll() is None:
            try:
                if serves(channel, "", seconds=1.0):
                    return
            except IsoglossError:
                pass  # not up yet
            time.sleep(0.05)
    raise ContenderFailed(f"the server at {server.address} did not start")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
