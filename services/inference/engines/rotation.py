"""Which engine processes take runs, which graphs they hold, and which of their lanes are free.

Starts, loads and ends nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.inference.engine import EngineDied
from services.inference.engines.child import Child, Graph, Lane


@dataclass(slots=True, kw_only=True)
class _Place:
    free: list[Lane]
    loaded: set[int]


class Rotation:
    """The processes that are up, and the graphs that are open. Thread safe.

    The lanes of a process belong to it from `join` on; it closes them when the process leaves.
    """

    def __init__(self, *, patience: float) -> None:
        """Begin without any.

        Args:
            patience: Seconds that a run waits for a lane, and a graph for a process.
        """
        self._patience = patience
        self._changed = threading.Condition()
        self._places: dict[Child, _Place] = {}
        self._open: dict[int, Graph] = {}

    def __len__(self) -> int:
        """Return how many processes are up."""
        return len(self._places)

    def children(self) -> list[Child]:
        """Return the processes that are up, once there is one.

        Raises:
            EngineDied: Where there is none for too long.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._places, self._patience):
                raise EngineDied("no engine process is up")
            return list(self._places)

    def open(self, graph: Graph) -> list[Child]:
        """Let a graph be open, and return who has to load it: whoever joins does so before."""
        with self._changed:
            self._open[graph.number] = graph
            return list(self._places)

    def loaded(self, child: Child, graph: Graph) -> None:
        """Note that a process has loaded a graph."""
        with self._changed:
            if child in self._places:
                self._places[child].loaded.add(graph.number)
                self._changed.notify_all()

    def forget(self, number: int) -> list[Child]:
        """Let a graph no longer be open, and return who has to unload it."""
        with self._changed:
            self._open.pop(number, None)
            holders = [child for child, place in self._places.items() if number in place.loaded]
            for child in holders:
                self._places[child].loaded.discard(number)
            return holders

    def join(
        self, child: Child, loaded: set[int], refused: set[int]
    ) -> tuple[list[Graph], set[int]]:
        """Let a process take runs, unless it is behind.

        Args:
            child: The process.
            loaded: What it has loaded.
            refused: What it cannot load.

        Returns:
            What it has to load first, and what to unload; where both are empty, it has joined.
        """
        with self._changed:
            known = loaded | refused
            missing = [graph for number, graph in self._open.items() if number not in known]
            stale = loaded - self._open.keys()
            if not missing and not stale:
                self._places[child] = _Place(free=list(child.lanes), loaded=loaded)
                self._changed.notify_all()
            return missing, stale

    def leave(self, child: Child) -> None:
        """Let a process take no more runs; what it has not joined it may leave."""
        with self._changed:
            place = self._places.pop(child, None)
            for lane in place.free if place else ():
                lane.close()

    @contextmanager
    def lane(self, number: int) -> Iterator[Lane]:
        """Provide a lane of the process that holds a graph and has most to spare.

        Raises:
            EngineDied: Where none is free for too long.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._free(number), self._patience):
                raise EngineDied(f"no engine process was free within {self._patience:g} s")
            lane = self._free(number).pop()
        try:
            yield lane
        except EngineDied:
            self.leave(lane.child)
            raise
        finally:
            self._give_back(lane)

    def _free(self, number: int) -> list[Lane]:
        holding = (place.free for place in self._places.values() if number in place.loaded)
        return max(holding, key=len, default=[])

    def _give_back(self, lane: Lane) -> None:
        with self._changed:
            place = self._places.get(lane.child)
            if place is None:
                lane.close()
            else:
                place.free.append(lane)
                self._changed.notify_all()
