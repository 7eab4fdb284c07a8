"""The process of one engine: `python -m services.inference.engines.worker`, started by `Child`.

It opens graphs and runs them, as it is asked over sockets that it inherits: one for loading, and
one for every run that may be under way. It ends when whoever started it is gone.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from services.common.lifeline import end_with
from services.inference.background import leave_processors
from services.inference.engine import FloatArray, GraphInvalid, GraphShape, RunFailed
from services.inference.engines import frames
from services.inference.engines.frames import Kind, RunRequest
from services.inference.engines.onnx import OnnxEngine
from services.inference.engines.session import prepare
from services.inference.memory import give_back

_OOM_SCORE = Path("/proc/self/oom_score_adj")
_SACRIFICED_FIRST = "500"
# Of -1000 to 1000. Where memory runs out, an engine is started again within a second; the
# process that answers calls takes all of them with it.


def main() -> None:
    """Serve until the other ends are closed."""
    options = _options()
    end_with(options.parent)
    # Whoever stops the service as a group means the parent, which closes the sockets when the
    # last call has its answer.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        _OOM_SCORE.write_text(_SACRIFICED_FIRST)
    worker = _Worker(options.threads)
    for descriptor in options.lanes:
        lane = socket.socket(fileno=descriptor)
        threading.Thread(target=worker.serve_runs, args=[lane], name="lane", daemon=True).start()
    worker.serve_loads(socket.socket(fileno=options.control))
    # Nobody waits for what the lanes still compute.
    os._exit(0)


class _Worker:
    """The graphs of this process."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._engines: dict[int, OnnxEngine] = {}

    def serve_runs(self, lane: socket.socket) -> None:
        """Run what is asked, one after the other, until the other end is closed."""
        with suppress(EOFError, OSError):
            while True:
                _, content = frames.receive(lane)
                request = frames.unpack_run(content)
                try:
                    rows = self._run(request)
                except RunFailed as error:
                    frames.send(lane, Kind.FAILED, str(error).encode())
                else:
                    frames.send(lane, Kind.ROWS, frames.pack_rows(rows))

    def _run(self, request: RunRequest) -> tuple[FloatArray, ...]:
        engine = self._engines.get(request.graph)
        if engine is None:
            raise RunFailed(f"graph {request.graph} is not loaded")
        return engine.run(request.token_ids, request.outputs)

    def serve_loads(self, control: socket.socket) -> None:
        """Open and close graphs until the other end is closed."""
        with suppress(EOFError, OSError):
            while True:
                kind, content = frames.receive(control)
                try:
                    _OBEYED[kind](self, **frames.unpack_object(content))
                except GraphInvalid as error:
                    frames.send(control, Kind.FAILED, str(error).encode())
                else:
                    frames.send(control, Kind.DONE)

    def prepare(self, *, path: str, folder: str) -> None:
        """Write a graph as this machine computes it, where the runs leave time for it."""
        with ThreadPoolExecutor(1, initializer=leave_processors) as executor:
            executor.submit(prepare, Path(path), Path(folder)).result()
        give_back()

    def load(self, *, graph: int, path: str, prepared: bool, shape: dict[str, int]) -> None:
        """Open a graph."""
        self._engines[graph] = OnnxEngine(
            Path(path),
            shape=GraphShape(**shape),
            threads=self._threads,
            prepared=prepared,
        )

    def unload(self, *, graph: int) -> None:
        """Close a graph; a run that is under way keeps it until it ends."""
        self._engines.pop(graph, None)
        give_back()

    def ping(self) -> None:
        """Show that everything before is done."""


_OBEYED: Mapping[Kind, Callable[..., None]] = {
    Kind.PREPARE: _Worker.prepare,
    Kind.LOAD: _Worker.load,
    Kind.UNLOAD: _Worker.unload,
    Kind.PING: _Worker.ping,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="process that started this one")
    parser.add_argument("--threads", type=int, required=True, help="threads of one run")
    parser.add_argument("--control", type=int, required=True, help="descriptor for loading")
    parser.add_argument("--lanes", type=int, nargs="+", required=True, help="one for each run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
