"""Child processes that live and die together: started, waited for, logged, stopped."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

import grpc
from rich.text import Text

from isogloss import IsoglossError
from isogloss.cli.commands import Stop
from isogloss.cli.exits import ExitCode
from isogloss.cli.health import serves
from isogloss.cli.session import Session
from isogloss.connection import DEFAULT_ADDRESSES

START_SECONDS = 120.0
"""Until all serve. The first start on a slow disk imports torch and publishes the base model."""

STOP_SECONDS = 30.0
"""From the request to stop until the processes are killed: calls have 20 s to end."""

LAST_LINES = 15
"""Log lines that are shown of a process that died."""

POLL_SECONDS = 0.1

_COLORS = ("cyan", "magenta", "green")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process to run."""

    name: str
    address: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path


@dataclass(slots=True, kw_only=True)
class _Child:
    part: Part
    process: subprocess.Popen[str]
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    reader: threading.Thread | None = None


class _Log:
    """One file for all, each line with the name of who wrote it."""

    def __init__(self, session: Session, file: IO[str], *, verbose: bool) -> None:
        self._session, self._file, self._verbose = session, file, verbose
        self._lock = threading.Lock()

    def follow(self, child: _Child, color: str) -> None:
        assert child.process.stdout is not None  # noqa: S101 (opened as a pipe)
        name = f"{child.part.name:<9} "
        for raw in child.process.stdout:
            line = raw.rstrip("\n")
            child.last.append(line)
            with self._lock:
                self._file.write(f"{name}{line}\n")
                self._file.flush()
                if self._verbose:
                    self._show(Text.assemble((name, color), line))

    def _show(self, line: Text) -> None:
        try:
            self._session.err.print(line, soft_wrap=True)
        except (OSError, SystemExit):
            # A terminal that was closed, a pipe that nobody reads: rich asks to exit then. Here
            # is only a thread, and what stands behind its pipe would stop at a full one.
            self._verbose = False


def run(session: Session, parts: Sequence[Part], *, data: Path, verbose: bool) -> None:
    """Run all parts until Ctrl-C, SIGTERM, or until one of them ends.

    Raises:
        Stop: One did not start, or ended by itself.
    """
    data.mkdir(parents=True, exist_ok=True)
    path = data / "isogloss.log"
    with path.open("a", encoding="utf-8") as file, _stopping() as stopped:
        log = _Log(session, file, verbose=verbose)
        children: list[_Child] = []
        try:
            for part, color in zip(parts, _COLORS, strict=True):
                children.append(_start(part, log, color))
            if _wait_until_serving(session, children, stopped):
                _announce(session, parts, data, path)
                while not stopped.is_set() and not _dead(children):
                    stopped.wait(POLL_SECONDS)
        finally:
            dead = _dead(children)
            try:
                if not dead:
                    session.note("Stopping ...")
            finally:
                # Nobody may read any more, such as a terminal that was closed: stop them anyway.
                _stop(children)
    if dead:
        _report(session, dead, path)
        raise Stop(ExitCode.FAILED)


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Turn the signals that ask to stop into an event."""
    event = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        event.set()

    asking = [signal.SIGINT, signal.SIGTERM]
    # A terminal that is closed hangs up; nohup asks to stay then.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asking.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in asking}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(part: Part, log: _Log, color: str) -> _Child:
    process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
        part.command,
        cwd=part.directory,
        env=dict(part.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Ctrl-C is for us; we ask the services to stop, and wait for them.
        start_new_session=True,
    )
    child = _Child(part=part, process=process)
    child.reader = threading.Thread(target=log.follow, args=(child, color), daemon=True)
    child.reader.start()
    return child


def _wait_until_serving(
    session: Session, children: Sequence[_Child], stopped: threading.Event
) -> bool:
    """Wait for the health of all; tell whether they serve."""
    deadline = time.monotonic() + START_SECONDS
    waiting = list(children)
    with (
        session.err.status("Starting ...") if session.err.is_terminal else contextlib.nullcontext()
    ):
        while waiting and not stopped.is_set() and not _dead(children):
            if time.monotonic() > deadline:
                names = ", ".join(child.part.name for child in waiting)
                session.note(f"Not serving after {START_SECONDS:g} s: {names}")
                for child in waiting:
                    child.process.kill()
                    child.process.wait()
                return False
            waiting = [child for child in waiting if not _serves(child.part.address)]
            stopped.wait(POLL_SECONDS)
    return not waiting


def _serves(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        try:
            return serves(channel, "", seconds=1.0)
        except IsoglossError:
            return False


def _dead(children: Sequence[_Child]) -> list[_Child]:
    return [child for child in children if child.process.poll() is not None]


def _announce(session: Session, parts: Sequence[Part], data: Path, log: Path) -> None:
    if session.json:
        addresses = {part.name: part.address for part in parts}
        session.document(
            {"addresses": addresses, "data": str(data.absolute()), "log": str(log.absolute())},
            line=True,
        )
        return
    session.table(["service", "address"], [[part.name, part.address] for part in parts])
    session.note(f"Data and log: {data}")
    session.note("Running; Ctrl-C stops all. In another terminal:")
    for service, address in DEFAULT_ADDRESSES.items():
        found = next(part.address for part in parts if part.name == service)
        if found != address:
            session.note(f"  export ISOGLOSS_{service.upper()}={found}")
    session.note("  isogloss datasets upload NAME --train FILE.csv")


def _stop(children: Sequence[_Child]) -> None:
    """Ask all to stop, wait, and kill what does not."""
    for child in children:
        if child.process.poll() is None:
            child.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        try:
            child.process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        if child.reader is not None:
            child.reader.join(timeout=1.0)


def _report(session: Session, dead: Sequence[_Child], log: Path) -> None:
    for child in dead:
        code = child.process.returncode
        how = (
            f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        )
        session.err.print(
            Text.assemble(("Error: ", "bold red"), f"{child.part.name} {how}. Its last lines:")
        )
        for line in child.last:
            session.err.print(Text(f"  {line}"), soft_wrap=True)
    session.err.print(Text(f"The whole log: {log}"))
