"""Engines as processes of their own: one that dies takes its runs with it, and nothing else.

Every process holds every graph, so that any of them can answer. One that ends is started again
and loads what it held; meanwhile the others serve. Knows neither texts nor models.
"""

from __future__ import annotations

import itertools
import os
import queue
import shutil
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import structlog

from services.common.scratch import Scratch
from services.inference.engine import (
    EngineDied,
    FloatArray,
    GraphInvalid,
    GraphShape,
    Output,
)
from services.inference.engines.child import Child, Graph, Lane, NeverBegun
from services.inference.engines.onnx import CPU_LIMITS

_log = structlog.get_logger()

# How long a run waits for a process that comes back, in seconds: one is started and has loaded
# what it held within a second, or within some seconds where that is gigabytes.
_PATIENCE_SECONDS = 10.0

# A graph in the form of the machine, for each byte of the published one: all-MiniLM-L6-v2 grows
# from 91 to 133 MB (8-bit: 70 to 91). Whatever number of processes maps it, it is there once; of
# four processes' memory one model was 0.5 to 1.0 of its file, since no text has all words.
_PREPARED_GROWTH = 1.5

# A process that ends this soon after its start is given a pause, in seconds, that doubles each
# time: what it was asked to load may end it again and again.
_YOUNG_SECONDS = 10.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


@dataclass(slots=True, kw_only=True)
class _Place:
    """A process that is up."""

    free: list[Lane]
    loaded: set[int] = field(default_factory=set)


class ProcessEngines:
    """A fixed number of engine processes, all alike. See `Engines`."""

    def __init__(self, *, processes: int, lanes: int, threads: int, scratch: Scratch) -> None:
        """Start them, without waiting until they are up.

        Args:
            processes: How many, at least 1.
            lanes: Runs at once in each, at least 1.
            threads: Of each run, at least 1.
            scratch: Keeps the files of all graphs that are open; closed with this.
        """
        self._start = partial(Child, lanes=lanes, threads=threads)
        self._scratch = scratch
        self.limits = replace(CPU_LIMITS, runs=processes * lanes)
        self._changed = threading.Condition()
        self._started: set[Child] = set()
        self._up: dict[Child, _Place] = {}
        self._open: dict[int, Graph] = {}
        self._numbers = itertools.count(1)
        self._closing = threading.Event()
        self._forgotten: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        keepers = [
            threading.Thread(target=self._keep, args=[index], name=f"engine-{index}", daemon=True)
            for index in range(processes)
        ]
        janitor = threading.Thread(target=self._forget_all, name="engines", daemon=True)
        self._threads = [*keepers, janitor]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether any of them is up."""
        return bool(self._up)

    @property
    def copies(self) -> float:
        """What all processes map together."""
        return _PREPARED_GROWTH

    def open(self, path: Path, shape: GraphShape) -> ProcessEngine:
        """Let all of them open a graph; see `Engines.open`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._up, _PATIENCE_SECONDS):
                raise EngineDied("no engine process is up")
            children = list(self._up)
        number = next(self._numbers)
        try:
            self._load_everywhere(self._kept(number, path, shape, children[0]))
        except BaseException:
            self._forgotten.put(number)
            raise
        engine = ProcessEngine(self, number)
        # Through a queue, since a finalizer may run where a lock is held already.
        weakref.finalize(engine, self._forgotten.put, number).atexit = False
        return engine

    def run(
        self, number: int, token_ids: Sequence[Sequence[int]], outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        """Run a graph in the process that has most to spare; see `Engine.run`."""
        while True:
            with suppress(NeverBegun), self._lane(number) as lane:
                return lane.run(number, token_ids, outputs)

    def close(self) -> None:
        """End all processes, and remove their files."""
        self._closing.set()
        self._forgotten.put(None)
        with self._changed:
            for child in self._started:
                child.kill()
        for thread in self._threads:
            thread.join()
        self._scratch.close()

    @contextmanager
    def _lane(self, number: int) -> Iterator[Lane]:
        with self._changed:
            if not self._changed.wait_for(lambda: self._idlest(number), _PATIENCE_SECONDS):
                raise EngineDied(f"no engine process was free within {_PATIENCE_SECONDS:g} s")
            lane = self._idlest(number).pop()
        try:
            yield lane
        except EngineDied:
            with self._changed:
                self._up.pop(lane.child, None)
            raise
        finally:
            with self._changed:
                place = self._up.get(lane.child)
                if place is not None:
                    place.free.append(lane)
                    self._changed.notify_all()

    def _idlest(self, number: int) -> list[Lane]:
        """Return the free lanes of the process that holds a graph and has most of them."""
        free = (place.free for place in self._up.values() if number in place.loaded)
        return max(free, key=len, default=[])

    def _kept(self, number: int, path: Path, shape: GraphShape, child: Child) -> Graph:
        """Return a graph in files of ours: in the form of this machine where it has one."""
        folder = self._folder(number)
        folder.mkdir()
        try:
            prepared = child.prepare(path, folder)
            return Graph(number=number, path=prepared, prepared=True, shape=shape)
        except GraphInvalid as error:
            # Loading tells what is wrong with it, if it is the graph.
            _log.warning("graph_not_prepared", error=str(error))
        except EngineDied as error:
            raise _deadly(error) from error
        _link(path, folder / path.name)
        return Graph(number=number, path=folder / path.name, prepared=False, shape=shape)

    def _folder(self, number: int) -> Path:
        return self._scratch.path / str(number)

    def _load_everywhere(self, graph: Graph) -> None:
        with self._changed:
            # A process that comes up from here on loads it by itself.
            self._open[graph.number] = graph
            children = list(self._up)
        loaded = False
        for child in children:
            try:
                child.load(graph)
            except EngineDied as error:
                # Where the first one dies of it, the others would as well.
                if not loaded:
                    raise _deadly(error) from error
                continue
            loaded = True
            with self._changed:
                if child in self._up:
                    self._up[child].loaded.add(graph.number)
                    self._changed.notify_all()

    def _keep(self, index: int) -> None:
        """Start one process, again and again, until all are closed."""
        pause = 0.0
        while not self._closing.wait(pause):
            begun = time.monotonic()
            how = self._live(index)
            if self._closing.is_set():
                return
            young = time.monotonic() - begun < _YOUNG_SECONDS
            pause = min(max(_FIRST_PAUSE, 2 * pause), _LONGEST_PAUSE) if young else 0.0
            _log.warning("engine_ended", engine=index, how=how, started_again_in=pause)

    def _live(self, index: int) -> str:
        """Start a process, bring it up, and return how it ended."""
        try:
            child = self._start()
        except OSError as error:
            return f"could not be started: {error}"
        with self._changed:
            self._started.add(child)
            if self._closing.is_set():
                child.kill()
        with suppress(EngineDied):
            begun = time.monotonic()
            self._bring_up(child)
            seconds = round(time.monotonic() - begun, 3)
            _log.info("engine_up", engine=index, pid=child.pid, seconds=seconds)
        how = child.wait()
        with self._changed:
            self._started.discard(child)
            self._up.pop(child, None)
            self._changed.notify_all()
        return how

    def _bring_up(self, child: Child) -> None:
        """Load what is open, and let it serve.

        Raises:
            EngineDied: Where it ended meanwhile.
        """
        child.ping()
        tried: set[int] = set()
        loaded: set[int] = set()
        while True:
            with self._changed:
                missing = [graph for number, graph in self._open.items() if number not in tried]
                stale = loaded - self._open.keys()
                if not missing and not stale:
                    self._up[child] = _Place(free=list(child.lanes), loaded=loaded)
                    self._changed.notify_all()
                    return
            for number in stale:
                child.unload(number)
                loaded.discard(number)
            for graph in missing:
                tried.add(graph.number)
                try:
                    child.load(graph)
                    loaded.add(graph.number)
                except GraphInvalid as error:
                    _log.error("graph_not_loaded", graph=graph.number, error=str(error))

    def _forget_all(self) -> None:
        """Close the graphs that nobody refers to any more, until all are closed."""
        while (number := self._forgotten.get()) is not None:
            with self._changed:
                self._open.pop(number, None)
                holders = [child for child, place in self._up.items() if number in place.loaded]
                for child in holders:
                    self._up[child].loaded.discard(number)
            for child in holders:
                with suppress(EngineDied):
                    child.unload(number)
            shutil.rmtree(self._folder(number), ignore_errors=True)


class ProcessEngine:
    """A graph that is open in all engine processes. See `Engine`."""

    def __init__(self, engines: ProcessEngines, number: int) -> None:
        """Stand for the graph of that number."""
        self._engines = engines
        self._number = number
        self.limits = engines.limits

    def run(
        self, token_ids: Sequence[Sequence[int]], outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        """Compute a few texts in one pass; see `Engine.run`."""
        return self._engines.run(self._number, token_ids, outputs)


def _deadly(error: EngineDied) -> GraphInvalid:
    return GraphInvalid(f"opening the graph ended the process that tried: {error}")


def _link(source: Path, target: Path) -> None:
    """Keep a file whatever becomes of the name that it has now."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
