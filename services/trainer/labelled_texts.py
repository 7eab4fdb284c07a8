"""Texts and what they should be answered with, as a training takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.trainer.learning.selection import Rows
from services.trainer.learning.targets import Targets, from_sets


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledTexts:
    """Texts, each with one label or with any number of them."""

    texts: Sequence[str]
    label_ids: Sequence[int] = ()
    """Index of each text's label in the run's labels, where each has one."""

    label_sets: Sequence[tuple[int, ...]] | None = None
    """Indices of each text's labels, where a text can have several."""

    groups: Sequence[int | None] | None = None
    """Which texts are near duplicates of each other, by number; None for a text that is none."""

    @property
    def multi_label(self) -> bool:
        """Whether a text can have several labels."""
        return self.label_sets is not None

    def targets(self, labels: int) -> Targets:
        """Return int64 [N], or bool [N, K] where a text can have several labels."""
        if self.label_sets is None:
            return np.asarray(self.label_ids, dtype=np.int64)
        return from_sets(self.label_sets, labels)

    @property
    def group_numbers(self) -> Rows:
        """[N], the number of each text's group of near duplicates; -1 for a text that has none."""
        if self.groups is None:
            return np.full(len(self.texts), -1)
        return np.array([-1 if group is None else group for group in self.groups], dtype=np.int64)

    def take(self, rows: Rows) -> LabelledTexts:
        """Return some of them, in the order of `rows`."""
        return LabelledTexts(
            texts=[self.texts[row] for row in rows],
            label_ids=[self.label_ids[row] for row in rows] if self.label_sets is None else (),
            label_sets=None if self.label_sets is None else [self.label_sets[row] for row in rows],
        )
