"""When a training is kept, and whether what was kept is of the same training."""

from __future__ import annotations

import time
from pathlib import Path

from services.trainer.checkpoints import Checkpoints
from services.trainer.learning import snapshot
from services.trainer.learning.learner import Learner
from services.trainer.learning.regression import Regression
from services.trainer.learning.snapshot import Losses, Snapshot


class Keeper:
    """Keeps snapshots of one training, not more often than it is worth.

    Args:
        checkpoints: Where they go; None keeps nothing.
        name: The training's `snapshot.fingerprint`.
        scratch: A directory of its own.
        seconds: That have to be between two snapshots, unless one is asked for.
        reads_only: Whether it leaves the keeping to another worker.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        *,
        name: str,
        scratch: Path,
        seconds: float,
        reads_only: bool = False,
    ) -> None:
        """Start the clock."""
        self._checkpoints = checkpoints
        self.name = name
        self._scratch = scratch
        self._seconds = seconds
        self._reads_only = reads_only
        self._last = time.monotonic()

    def latest(self) -> Snapshot | None:
        """Return where the training was; None where it has to begin."""
        if self._checkpoints is None:
            return None
        found = self._checkpoints.latest(self._scratch / "found")
        return None if found is None else snapshot.load(found, self.name)

    def save(
        self,
        learner: Learner,
        *,
        step: int,
        losses: Losses,
        baseline: Regression,
        now: bool = False,
    ) -> None:
        """Keep the training as it is after a step, if the time has come or `now` says so."""
        if self._checkpoints is None or self._reads_only:
            return
        if not now and time.monotonic() - self._last < self._seconds:
            return
        directory = self._scratch / "kept"
        snapshot.save(
            directory, learner, name=self.name, step=step, losses=losses, baseline=baseline
        )
        self._checkpoints.save(directory, step=step)
        self._last = time.monotonic()
