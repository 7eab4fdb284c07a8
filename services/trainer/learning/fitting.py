"""One training of an encoder and its head on given rows, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from services.trainer.base_import import BaseEncoder
from services.trainer.encoder import SentenceEncoder, collate
from services.trainer.head import Floats, Head
from services.trainer.learning.batches import Rows, affordable, length_grouped, paired
from services.trainer.learning.frozen import FrozenLayers, KeptStates, keep_states
from services.trainer.learning.group import ALONE, Group
from services.trainer.learning.learner import Batch, Learner
from services.trainer.learning.targets import Targets, counts, is_multi
from services.trainer.recipe import Plan
from services.trainer.tokenize import TokenIds


class Fitting:
    """A training on given rows.

    With the same arguments, each step does the same, whoever takes it: its rows and its dropout
    follow from the seed and the step's number, and dropout from the worker's number as well.

    Args:
        base: What the encoder is of.
        encoder: Where to start; changed in place.
        plan: What to do.
        tokens: Of the rows.
        targets: Of the rows.
        start: The head to begin with.
        anchors: [N, D], the base's own embeddings of the rows; None anchors nothing to them.
        seed: Of order and dropout.
        group: The workers that do the same, each on its share of every batch.
    """

    def __init__(
        self,
        *,
        base: BaseEncoder,
        encoder: SentenceEncoder,
        plan: Plan,
        tokens: TokenIds,
        targets: Targets,
        start: Head,
        anchors: Floats | None,
        seed: int,
        group: Group = ALONE,
    ) -> None:
        """Set the learner up."""
        self._base = base
        self._plan = plan
        self._tokens = tokens
        self._lengths = tokens.lengths
        self._targets = targets
        self._anchors = anchors
        self._seed = seed
        self._group = group
        self.steps = plan.steps(len(tokens))
        self.encoder = encoder
        self._frozen = FrozenLayers(self.encoder, plan.frozen_layers, layers=base.layers)
        prior = None
        if plan.class_balance:
            prior = _log_prior(targets, len(start.weight)).to(encoder.device)
        self.learner = Learner(
            self.encoder, self._frozen, start, prior, plan, steps=self.steps, group=group
        )

    def run(
        self, first: int, *, before: Callable[[int], None], after: Callable[[int, float], None]
    ) -> None:
        """Take the steps that are left; encoder and learner end as their moving averages.

        Args:
            first: Steps that were taken before.
            before: Called before each step with the number of steps done; may raise.
            after: Called after each step with the number of steps done, and the step's loss.
        """
        # The same head, fitted on processors of two kinds, differs in its last bits.
        self._group.follow([*self.learner.parameters, *self.learner.average.tensors])
        states = None
        if self._frozen.count and first < self.steps and self._plan.epochs > 1:
            states = keep_states(
                self._frozen,
                self._tokens,
                self._base.pad_token_id,
                self._base.dimensions,
                lambda: before(first),
            )
        for number, rows in self._batches(first):
            before(number)
            torch.manual_seed(_mixed(self._seed, number, self._group.rank))
            loss = self.learner.step(number, self._parts(rows, states))
            after(number + 1, loss)
        self.learner.average.apply()
        self.encoder.eval()

    def _batches(self, first: int) -> Iterator[tuple[int, Rows]]:
        """Yield each step's number and rows, from `first` on."""
        per_epoch = math.ceil(len(self._tokens) / self._plan.batch_size)
        together = self._plan.contrastive_weight > 0 and not is_multi(self._targets)
        for epoch in range(first // per_epoch, math.ceil(self.steps / per_epoch)):
            random = np.random.default_rng([self._seed, epoch])
            batches = (
                paired(self._lengths, self._targets, self._plan.batch_size, random)
                if together
                else length_grouped(self._lengths, self._plan.batch_size, random)
            )
            for number, rows in enumerate(batches, start=epoch * per_epoch):
                if first <= number < self.steps:
                    yield number, rows

    def _parts(self, rows: Rows, states: KeptStates | None) -> Iterator[Batch]:
        device = self.encoder.device
        rank, size = self._group.rank, self._group.size
        for part in affordable(self._lengths[rows], size):
            dealt = rows[part]
            # Fewer rows than workers: each of them does all, for its share of what they count.
            chosen = dealt[rank::size] if len(dealt) >= size else dealt
            copies = 1 if len(dealt) >= size else size
            ids, mask = collate((self._tokens[row] for row in chosen), self._base.pad_token_id)
            targets = torch.from_numpy(self._targets[chosen])
            anchors = None if self._anchors is None else torch.from_numpy(self._anchors[chosen])
            yield Batch(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                targets=(targets.float() if is_multi(self._targets) else targets).to(device),
                states=None if states is None else states.batch(chosen, ids.shape[1]).to(device),
                anchors=None if anchors is None else anchors.to(device),
                weight=len(chosen) / len(rows) / copies,
                dealt=len(dealt),
            )


def _mixed(*numbers: int) -> int:
    """Return a seed that differs from those of all neighbouring numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _log_prior(targets: Targets, labels: int) -> Tensor:
    """Return how frequent each label is, [K]: the log of its share, or with several of its odds."""
    having = counts(targets, labels) + 1.0
    without = len(targets) - having + 2.0
    prior = np.log(having / without) if is_multi(targets) else np.log(having / having.sum())
    return torch.from_numpy(prior.astype(np.float32))
