"""This process's end of one engine process. Starts it once; knows nothing of others."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from services.inference.engine import (
    EngineDied,
    FloatArray,
    GraphInvalid,
    GraphShape,
    Output,
    RunFailed,
)
from services.inference.engines import frames
from services.inference.engines.frames import Kind, RunRequest
from services.inference.engines.session import PREPARED

# A run or a load that takes longer than this hangs: the process is killed, as if it had died.
# The largest batch of the largest base takes seconds; a graph of a gigabyte loads in ten.
_RUN_SECONDS = 60.0
_LOAD_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph as engine processes are told of it."""

    number: int
    path: Path
    prepared: bool
    """Whether one of them wrote it, for all of them."""

    shape: GraphShape


class NeverBegun(EngineDied):
    """The process was gone before it was asked."""


class Child:
    """A process that computes."""

    def __init__(self, *, lanes: int, threads: int) -> None:
        """Start it, from a thread that lives as long as it does.

        Args:
            lanes: Runs that may be under way at once, at least 1.
            threads: Of one run.

        Raises:
            OSError: Where it cannot be started.
        """
        pairs = [socket.socketpair() for _ in range(lanes + 1)]
        (self._control, control), *runs = pairs
        self.lanes = [Lane(ours, self) for ours, _ in runs]
        self._loading = threading.Lock()
        self._control.settimeout(_LOAD_SECONDS)
        theirs = [control.fileno(), *(end.fileno() for _, end in runs)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 (our own module, no shell)
                [
                    *(sys.executable, "-m", "services.inference.engines.worker"),
                    *("--parent", str(os.getpid()), "--threads", str(threads)),
                    *("--control", str(theirs[0]), "--lanes", *map(str, theirs[1:])),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=theirs,
                # A terminal's Ctrl-C is for the parent, which ends when its calls have.
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            self.close_lanes()
            raise
        finally:
            for _, end in pairs:
                end.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def prepare(self, path: Path, folder: Path) -> Path:
        """Let it write a graph as this machine computes it, and return where.

        Raises:
            GraphInvalid: Where it cannot.
            EngineDied: Where the process ended.
        """
        self._order(Kind.PREPARE, {"path": str(path), "folder": str(folder)})
        return folder / PREPARED

    def load(self, graph: Graph) -> None:
        """Let it open a graph.

        Raises:
            GraphInvalid: Where the graph is not what it must be.
            EngineDied: Where the process ended, of this or of something else.
        """
        self._order(
            Kind.LOAD,
            {
                "graph": graph.number,
                "path": str(graph.path),
                "prepared": graph.prepared,
                "shape": asdict(graph.shape),
            },
        )

    def unload(self, number: int) -> None:
        """Let it close a graph.

        Raises:
            EngineDied: Where the process ended.
        """
        self._order(Kind.UNLOAD, {"graph": number})

    def ping(self) -> None:
        """Wait until it takes questions.

        Raises:
            EngineDied: Where the process ended.
        """
        self._order(Kind.PING, {})

    def wait(self) -> str:
        """Wait for its end, and return how it ended, in words."""
        code = self._process.wait()
        with self._loading:
            self._control.close()
        if code >= 0:
            return f"ended with code {code}"
        hint = " (most often: out of memory)" if code == -signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{hint}"

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def _order(self, kind: Kind, request: Mapping[str, object]) -> None:
        with self._loading:
            try:
                frames.send(self._control, kind, frames.pack_object(request))
                answer, reason = frames.receive(self._control)
            except (OSError, EOFError, ValueError) as error:
                self.kill()
                raise EngineDied(f"the engine process {self.pid} ended while loading") from error
        if answer is Kind.FAILED:
            raise GraphInvalid(reason.decode())

    def close_lanes(self) -> None:
        """Close the lanes of a process that never took runs."""
        for lane in self.lanes:
            lane.close()


class Lane:
    """A way to a child that takes one run at a time."""

    def __init__(self, connection: socket.socket, child: Child) -> None:
        """Take over `connection`."""
        connection.settimeout(_RUN_SECONDS)
        self._connection = connection
        self.child = child

    def run(
        self, graph: int, token_ids: Sequence[Sequence[int]], outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        """Compute a few texts; see `Engine.run`.

        Raises:
            NeverBegun: Where another process can be asked instead.
        """
        request = RunRequest(graph=graph, token_ids=token_ids, outputs=outputs)
        try:
            frames.send(self._connection, Kind.RUN, frames.pack_run(request))
            kind, content = frames.receive(self._connection)
        except (BrokenPipeError, ConnectionResetError) as error:
            # Linux resets a socket whose other end is closed with something unread in it.
            self.child.kill()
            raise NeverBegun(f"the engine process {self.child.pid} ended before a run") from error
        except (OSError, EOFError, ValueError) as error:
            # It may hang, or answer late to somebody else's question.
            self.child.kill()
            raise EngineDied(f"the engine process {self.child.pid} ended during a run") from error
        if kind is Kind.FAILED:
            raise RunFailed(content.decode())
        return frames.unpack_rows(content)

    def close(self) -> None:
        """Close it; whoever waits for an answer gets none."""
        self._connection.close()
