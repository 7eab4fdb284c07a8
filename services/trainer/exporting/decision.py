"""From logits to labels, as inference decides. Pure numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.head import Floats, probabilities

Truth = npt.NDArray[np.bool_]
"""[N, K]: which text has which label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How a model decides."""

    multi_label: bool
    """Each label by itself; else the most likely one."""

    thresholds: Floats
    """[K] from which probability on a label is given; empty with one label a text."""

    def probabilities(self, logits: Floats) -> Floats:
        """Return [N, K] for logits [N, K]."""
        return probabilities(logits, multi_label=self.multi_label)

    def labels(self, chances: Floats) -> Truth:
        """Return the labels that are given, [N, K]."""
        if self.multi_label:
            return np.asarray(chances >= self.thresholds)
        winners = chances.argmax(axis=1)
        return np.asarray(np.arange(chances.shape[1]) == winners[:, None])

    def margins(self, chances: Floats) -> Floats:
        """Return how far each text is from being decided otherwise, [N]."""
        if self.multi_label:
            nearest: Floats = np.abs(chances - self.thresholds).min(axis=1)
            return nearest
        ordered = np.sort(chances, axis=1)
        lead: Floats = ordered[:, -1] - ordered[:, -2]
        return lead

    def score(self, chances: Floats, truth: Truth) -> float:
        """Return the share that is right: accuracy, or micro F1 with several labels a text."""
        given = self.labels(chances)
        right = int((given & truth).sum())
        return 2 * right / max(1, int(given.sum()) + int(truth.sum()))


SINGLE = Decision(multi_label=False, thresholds=np.empty(0, dtype=np.float32))
"""The most likely label, alone."""
