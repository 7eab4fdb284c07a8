"""A child process that tells what it does in lines, and that ends with this one.

Knows nothing of what the lines mean.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO

_STDERR_LINES = 40
_STDERR_WIDTH = 500
# 40 lines of at most 500 characters: a traceback, and 20 kB at most in the database.


class Child:
    """A process in a group of its own.

    Its standard input stays open as long as this process lives: when it reads the end of it,
    it is to exit.

    Args:
        command: What to run.
        first_line: Written to its standard input at once.
        environment: Replaces this process's.
    """

    def __init__(
        self, command: Sequence[str], *, first_line: str, environment: Mapping[str, str]
    ) -> None:
        """Start it."""
        self._process = subprocess.Popen(  # noqa: S603 (our own module, no shell)
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._readers = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        # A process that died already says why on its standard error.
        self.tell(first_line)

    @property
    def pid(self) -> int:
        """Its process id, which is its group's as well."""
        return self._process.pid

    def lines(self, seconds: float) -> list[str]:
        """Wait for lines, at most so long, and return those that are there."""
        found: list[str] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._lines.get(timeout=seconds))
            while True:
                found.append(self._lines.get_nowait())
        return found

    def tell(self, line: str) -> None:
        """Write a line to its standard input; a process that has ended does not hear it."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe(self._process.stdin).write(line + "\n")
            self._pipe(self._process.stdin).flush()

    def exit_code(self) -> int | None:
        """Return how it ended (negative: by this signal), or None while it runs.

        Once there is a code, `lines` returns what is left at once.
        """
        code = self._process.poll()
        if code is None:
            return None
        for reader in self._readers:
            # A grandchild may hold the pipes open: what it says is not waited for.
            reader.join(timeout=2.0)
        return code

    def stderr(self) -> list[str]:
        """Return the end of what it wrote to its standard error."""
        return list(self._stderr)

    def stop(self, grace: float) -> None:
        """End it and everything it started: politely, and after `grace` seconds for good."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            # A stopped process takes no notice of a polite signal before it goes on.
            self._signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        self._signal(signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=2.0)
        with contextlib.suppress(BrokenPipeError):
            self._pipe(self._process.stdin).close()
        for reader, pipe in zip(
            self._readers, (self._process.stdout, self._process.stderr), strict=True
        ):
            if not reader.is_alive():
                self._pipe(pipe).close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _read_lines(self) -> None:
        for line in self._pipe(self._process.stdout):
            self._lines.put(line.rstrip("\n"))

    def _read_stderr(self) -> None:
        for line in self._pipe(self._process.stderr):
            self._stderr.append(line.rstrip("\n")[:_STDERR_WIDTH])

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        if pipe is None:
            raise AssertionError("the process was started with pipes")
        return pipe
