"""Keeps one engine process up: started, loaded with what is open, and started again at its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from services.inference.engine import EngineDied, GraphInvalid
from services.inference.engines.child import Child
from services.inference.engines.restarts import Restarts
from services.inference.engines.rotation import Rotation

_log = structlog.get_logger()


class Keeper:
    """A thread that an engine process lives and dies with."""

    def __init__(self, index: int, start: Callable[[], Child], rotation: Rotation) -> None:
        """Start both.

        Args:
            index: Names the process in the log.
            start: Starts it; called again whenever it has ended.
            rotation: Which it joins while it is up.
        """
        self._index = index
        self._start = start
        self._rotation = rotation
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"engine-{index}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the process for good."""
        with self._lock:
            self._closing.set()
            if self._child is not None:
                self._child.kill()
        self._thread.join()

    def _keep(self) -> None:
        restarts, pause = Restarts(), 0.0
        while not self._closing.wait(pause):
            begun = time.monotonic()
            was_up, how = self._live()
            if self._closing.is_set():
                return
            pause = restarts.pause(was_up=was_up, seconds=time.monotonic() - begun)
            _log.warning("engine_ended", engine=self._index, how=how, started_again_in=pause)

    def _live(self) -> tuple[bool, str]:
        """Start the process and bring it up; return whether it was up, and how it ended."""
        with self._lock:
            if self._closing.is_set():
                return False, "closed"
            try:
                child = self._child = self._start()
            except OSError as error:
                return False, f"could not be started: {error}"
        begun = time.monotonic()
        try:
            self._bring_up(child)
        except EngineDied:
            child.close_lanes()
            return False, child.wait()
        seconds = round(time.monotonic() - begun, 3)
        _log.info("engine_up", engine=self._index, pid=child.pid, seconds=seconds)
        how = child.wait()
        self._rotation.leave(child)
        return True, how

    def _bring_up(self, child: Child) -> None:
        """Load what is open, and let it take runs.

        Raises:
            EngineDied: Where it ended meanwhile.
        """
        child.ping()
        loaded: set[int] = set()
        refused: set[int] = set()
        while True:
            missing, stale = self._rotation.join(child, loaded, refused)
            if not missing and not stale:
                return
            for number in stale:
                child.unload(number)
            loaded -= stale
            for graph in missing:
                try:
                    child.load(graph)
                    loaded.add(graph.number)
                except GraphInvalid as error:
                    refused.add(graph.number)
                    _log.error("graph_not_loaded", graph=graph.number, error=str(error))
