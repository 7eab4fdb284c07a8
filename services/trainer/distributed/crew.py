"""The workers of one run at work: what they tell, and what becomes of the run if one is lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from services.trainer.distributed.errors import ClusterFailed
from services.trainer.distributed.hiring import Hired
from services.trainer.messages import End, Failed, Finished, Halted, Tell, decode
from services.trainer.spec import RunSpec

_TICK_SECONDS = 0.25

_AFTERMATH_SECONDS = 10.0
# A worker whose neighbour is gone ends before Ray knows whose end that was, or why.

_DEATH = "died (most often: out of memory)."


class Crew:
    """Workers, from their first step to an end.

    Args:
        workers: By rank; they begin at once.
        spec: What they do.
    """

    def __init__(self, workers: Sequence[Hired], spec: RunSpec) -> None:
        """Set them to work."""
        self._first = workers[0]
        text = spec.to_json()
        self._working = {each.actor.carry_out.remote(text, each.place): each for each in workers}
        self._listening = {each.actor.lines.remote(): each for each in workers}
        self._loss = ""
        self._deadline = math.inf

    def follow(self, tell: Tell, *, should_stop: Callable[[], bool]) -> End:
        """Hear the workers until one tells an end.

        Args:
            tell: Takes everything before the end.
            should_stop: Asked all the time; the workers then stop within a step.

        Raises:
            ClusterFailed: Where a worker is lost.
        """
        asked = False
        while time.monotonic() < self._deadline:
            if should_stop() and not asked:
                self._first.actor.halt.remote()
                asked = True
            done, _ = ray.wait([*self._working, *self._listening], timeout=_TICK_SECONDS)
            for reference in done:
                if reference in self._working:
                    self._part(reference)
                    continue
                for line in self._lines(reference):
                    message = decode(line)
                    if isinstance(message, Finished | Failed | Halted):
                        return message
                    tell(message)
        raise ClusterFailed(self._loss)

    def _lines(self, reference: Any) -> list[str]:  # noqa: ANN401 (Ray types it not)
        worker = self._listening.pop(reference)
        lines: list[str] = []
        try:
            lines = ray.get(reference)
        except ActorDiedError:
            if worker is self._first:
                # What it told last may be lost with it.
                self._lose(worker, _DEATH)
            return lines
        except RayError:
            # A moment's trouble between two nodes; if it is more, the work itself ends with it.
            time.sleep(_TICK_SECONDS)
        self._listening[worker.actor.lines.remote()] = worker
        return lines

    def _part(self, reference: Any) -> None:  # noqa: ANN401 (as above)
        """Take note of a worker that no longer works; most often it is done, and may go."""
        worker = self._working.pop(reference)
        try:
            ray.get(reference)
        except ActorDiedError:
            self._lose(worker, _DEATH)
        except RayTaskError as error:
            # Most often for the loss of another one, which Ray is about to tell.
            if not self._loss:
                self._lose(worker, f"gave up: {error.cause}", wait=_AFTERMATH_SECONDS)
        except RayError as error:
            self._lose(worker, f"cannot be reached: {error}")

    def _lose(self, worker: Hired, fate: str, *, wait: float = 0.0) -> None:
        self._loss = f"The {worker} {fate}"
        self._deadline = min(self._deadline, time.monotonic() + wait)
