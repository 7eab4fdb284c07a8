"""The training rows of a run, and what is done with parts of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from services.trainer.base_import import BaseEncoder
from services.trainer.encoder import SentenceEncoder, embed, load_encoder
from services.trainer.head import Floats, Head
from services.trainer.learning import selection
from services.trainer.learning.fitting import Fitting
from services.trainer.learning.group import ALONE, Group
from services.trainer.learning.selection import Rows
from services.trainer.learning.targets import Targets, is_multi
from services.trainer.recipe import FOLDS, Plan
from services.trainer.tokenize import TokenIds


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some rows to learn from, and others to choose on."""

    learnt: Rows
    held: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRows:
    """All training rows of a run, as arrays."""

    base: BaseEncoder
    plan: Plan
    tokens: TokenIds
    targets: Targets
    groups: Rows
    """[N], which rows are near duplicates of each other; -1 for those that are none."""

    device: str
    check: Callable[[], None]
    """Called before each batch; what it raises ends the run."""

    group: Group = ALONE
    """The workers that have the same rows and share the work."""

    def main(self) -> Part:
        """Return what the published training learns from, and its `dev` rows, if it has any."""
        learnt, dev = selection.cut_dev(
            self.targets, self.groups, self.plan.dev_rows, seed=self.plan.seed
        )
        return Part(learnt=learnt, held=dev)

    def folds(self) -> list[Part]:
        """Return the folds that are held out in turn; none where there are `dev` rows."""
        if not self.plan.folds_fitted:
            return []
        everything = np.arange(len(self.targets))
        dealt = selection.folds(self.targets, self.groups, FOLDS, seed=self.plan.seed)
        parts = [
            self._part(np.setdiff1d(everything, held), held)
            for held in dealt[: self.plan.folds_fitted]
        ]
        return [part for part in parts if len(part.learnt) and len(part.held)]

    def _part(self, learnt: Rows, held: Rows) -> Part:
        """Pass over held rows with a label that no row is left to learn from."""
        if is_multi(self.targets):
            missing = ~self.targets[learnt].any(axis=0)
            held = held[~self.targets[held][:, missing].any(axis=1)]
        else:
            held = held[np.isin(self.targets[held], self.targets[learnt])]
        return Part(learnt=learnt, held=held)

    def embed(self, encoder: SentenceEncoder, rows: Rows) -> Floats:
        """Embed some rows, [N, D]; there may be none."""
        if len(rows) == 0:
            return np.empty((0, self.base.dimensions), dtype=np.float32)
        if len(rows) < self.group.size:
            return self._embed(encoder, rows)
        mine = self._embed(encoder, rows[self.group.rank :: self.group.size])
        whole: Floats = self.group.gather(torch.from_numpy(mine), len(rows)).numpy()
        return whole

    def _embed(self, encoder: SentenceEncoder, rows: Rows) -> Floats:
        return embed(
            encoder, self.tokens.take(rows), self.base.pad_token_id, before_batch=self.check
        )

    def fitting(self, rows: Rows, start: Head, *, seed: int) -> Fitting:
        """Prepare a training on some rows."""
        encoder = load_encoder(self.base).to(self.device)
        return Fitting(
            base=self.base,
            encoder=encoder,
            plan=self.plan,
            tokens=self.tokens.take(rows),
            targets=self.targets[rows],
            start=start,
            anchors=self.embed(encoder, rows) if self.plan.anchor_weight else None,
            seed=seed,
            group=self.group,
        )
