"""Engines as processes of their own: one that dies takes its runs with it, and nothing else.

Every process holds every graph, so that any of them can answer. Knows neither texts nor models.
"""

from __future__ import annotations

import itertools
import os
import queue
import shutil
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from services.common.scratch import Scratch
from services.inference.engine import (
    EngineDied,
    EngineLimits,
    FloatArray,
    GraphInvalid,
    GraphShape,
    Output,
)
from services.inference.engines.child import Child, Graph, NeverBegun
from services.inference.engines.keeper import Keeper
from services.inference.engines.onnx import CPU_LIMITS
from services.inference.engines.rotation import Rotation

_log = structlog.get_logger()

# How long a run waits for a process that comes back, in seconds: one is started and has loaded
# what it held within a second, or within some seconds where that is gigabytes.
_PATIENCE_SECONDS = 10.0

# A graph in the form of the machine, for each byte of the published one: all-MiniLM-L6-v2 grows
# from 91 to 133 MB (8-bit: 70 to 91). Whatever number of processes maps it, it is there once; of
# four processes' memory one model was 0.5 to 1.0 of its file, since no text has all words.
_PREPARED_GROWTH = 1.5


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
        self.limits = replace(CPU_LIMITS, runs=processes * lanes)
        self._scratch = scratch
        self._rotation = Rotation(patience=_PATIENCE_SECONDS)
        self._numbers = itertools.count(1)
        self._forgotten: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        start = partial(Child, lanes=lanes, threads=threads)
        self._keepers = [Keeper(index, start, self._rotation) for index in range(processes)]
        self._janitor = threading.Thread(target=self._close_forgotten, name="engines", daemon=True)
        self._janitor.start()

    @property
    def alive(self) -> bool:
        """Whether any of them is up."""
        return len(self._rotation) > 0

    @property
    def prefer_half(self) -> bool:
        """No: processors compute 32 bits as fast."""
        return False

    @property
    def copies(self) -> float:
        """What all processes map together."""
        return _PREPARED_GROWTH

    def open(self, path: Path, shape: GraphShape) -> ProcessEngine:
        """Let all of them open a graph; see `Engines.open`."""
        child = self._rotation.children()[0]
        number = next(self._numbers)
        try:
            self._load_everywhere(self._kept(number, path, shape, child))
        except EngineDied as error:
            self._forgotten.put(number)
            raise GraphInvalid(
                f"opening the graph ended the process that tried: {error}"
            ) from error
        except BaseException:
            self._forgotten.put(number)
            raise
        engine = ProcessEngine(self._rotation, number, self.limits)
        # Through a queue, since a finalizer may run where a lock is held already.
        weakref.finalize(engine, self._forgotten.put, number).atexit = False
        return engine

    def close(self) -> None:
        """End all processes, and remove their files."""
        for keeper in self._keepers:
            keeper.close()
        self._forgotten.put(None)
        self._janitor.join()
        self._scratch.close()

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
        _link(path, folder / path.name)
        return Graph(number=number, path=folder / path.name, prepared=False, shape=shape)

    def _load_everywhere(self, graph: Graph) -> None:
        loaded = False
        for child in self._rotation.open(graph):
            try:
                child.load(graph)
            except EngineDied:
                # Where the first one dies of it, the others would as well; where another does,
                # it loads the graph when it is back.
                if not loaded:
                    raise
            else:
                loaded = True
                self._rotation.loaded(child, graph)

    def _close_forgotten(self) -> None:
        """Close the graphs that nobody refers to any more, until this is closed."""
        while (number := self._forgotten.get()) is not None:
            for child in self._rotation.forget(number):
                with suppress(EngineDied):
                    child.unload(number)
            shutil.rmtree(self._folder(number), ignore_errors=True)

    def _folder(self, number: int) -> Path:
        return self._scratch.path / str(number)


class ProcessEngine:
    """A graph that is open in all engine processes. See `Engine`."""

    def __init__(self, rotation: Rotation, number: int, limits: EngineLimits) -> None:
        """Stand for the graph of that number."""
        self._rotation = rotation
        self._number = number
        self.limits = limits

    def run(
        self, token_ids: Sequence[Sequence[int]], outputs: tuple[Output, ...]
    ) -> tuple[FloatArray, ...]:
        """Compute a few texts in one pass; see `Engine.run`."""
        while True:
            with suppress(NeverBegun), self._rotation.lane(self._number) as lane:
                return lane.run(self._number, token_ids, outputs)


def _link(source: Path, target: Path) -> None:
    """Keep a file whatever becomes of the name that it has now."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
