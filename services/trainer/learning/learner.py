"""The step that learns: loss, gradients, optimiser, and the average that is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from services.trainer.encoder import SentenceEncoder
from services.trainer.head import Head
from services.trainer.learning import losses
from services.trainer.learning.frozen import FrozenLayers
from services.trainer.learning.group import ALONE, Group
from services.trainer.learning.moving_average import MovingAverage
from services.trainer.recipe import GRADIENT_NORM, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows, or a part of a step's rows, as tensors on the encoder's device."""

    input_ids: Tensor
    """int64 [B, L]"""

    attention_mask: Tensor
    """int64 [B, L]"""

    targets: Tensor
    """int64 [B], or float32 [B, K] of 0 and 1."""

    states: Tensor | None
    """float32 [B, L, D] after the frozen layers; None where they have to be computed."""

    anchors: Tensor | None
    """float32 [B, D], the base's own embeddings; None where nothing is anchored to them."""

    weight: float
    """What their mean counts for in the step: over its parts and all workers it adds up to 1."""

    dealt: int
    """Rows that these are this worker's share of; B where no other worker has any."""


class CutTooLong(ValueError):
    """Embeddings are to be cut to more numbers than they have; the message says what to do."""


class Learner:
    """An encoder and its head while they learn.

    Args:
        encoder: Changed in place.
        frozen: Its layers that do not learn.
        start: The head to begin with.
        log_prior: float32 [K], added to the logits while learning, so that frequent labels need
            no bias of their own; None where the head is to learn how frequent labels are.
        plan: What to do.
        steps: Of the whole training.
        group: The workers that take the same steps.
    """

    def __init__(
        self,
        encoder: SentenceEncoder,
        frozen: FrozenLayers,
        start: Head,
        log_prior: Tensor | None,
        plan: Plan,
        *,
        steps: int,
        group: Group = ALONE,
    ) -> None:
        """Set the optimiser up."""
        self.encoder = encoder
        self._frozen = frozen
        self._multi_label = start.multi_label
        self._log_prior = log_prior
        self._plan = plan
        self._steps = steps
        self._group = group
        labels, dimensions = start.weight.shape
        if plan.matryoshka_dimensions and plan.matryoshka_dimensions[-1] >= dimensions:
            raise CutTooLong(
                f"matryoshka_dimensions has {plan.matryoshka_dimensions[-1]}, and the base's "
                f"embeddings have {dimensions} numbers: give fewer."
            )
        self._head = nn.Linear(dimensions, labels).to(encoder.device)
        with torch.no_grad():
            self._head.weight.copy_(torch.from_numpy(start.weight))
            self._head.bias.copy_(torch.from_numpy(start.bias))
        self.optimizer, self._rates = _optimizer(encoder, frozen, self._head, plan)
        self.parameters = [
            tensor for group in self.optimizer.param_groups for tensor in group["params"]
        ]
        self.average = MovingAverage(self.parameters, plan.average_decay)
        if plan.dropout is not None:
            for module in encoder.modules():
                if isinstance(module, nn.Dropout):
                    module.p = plan.dropout

    @property
    def head(self) -> Head:
        """A copy of the head as it is."""
        return Head(
            weight=self._head.weight.detach().cpu().numpy().copy(),
            bias=self._head.bias.detach().cpu().numpy().copy(),
            multi_label=self._multi_label,
        )

    def step(self, number: int, parts: Iterable[Batch]) -> float:
        """Learn from one batch, which comes in parts that fit into memory.

        Args:
            number: Of the step, counted from 0.
            parts: Together this worker's share of the batch.

        Returns:
            The loss, a mean over the rows of all workers.
        """
        self.encoder.train()
        self._frozen.hold()
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._plan.rate(number, self._steps)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in parts:
            loss = self._loss(part) * part.weight
            loss.backward()  # type: ignore[no-untyped-call] # torch types it not
            total += loss.item()
        self._group.add([each.grad for each in self.parameters if each.grad is not None])
        nn.utils.clip_grad_norm_(self.parameters, GRADIENT_NORM)
        self.optimizer.step()
        self.average.update(number + 1)
        return self._group.total(total)

    def _loss(self, batch: Batch) -> Tensor:
        # On a GPU half of the bits are enough for the encoder's products, not for losses.
        with torch.autocast("cuda", torch.bfloat16, enabled=self.encoder.device.type == "cuda"):
            embeddings = self._embed(batch)
        embeddings = embeddings.float()
        loss = self._classification(self._head(embeddings), batch.targets)
        for length in self._plan.matryoshka_dimensions:
            cut = nn.functional.normalize(embeddings[:, :length], dim=1)
            logits = nn.functional.linear(cut, self._head.weight[:, :length], self._head.bias)
            loss = loss + self._classification(logits, batch.targets)
        loss = loss / (1 + len(self._plan.matryoshka_dimensions))
        if self._plan.contrastive_weight:
            loss = loss + self._plan.contrastive_weight * losses.contrastive(
                *self._gathered(embeddings, batch),
                temperature=self._plan.contrastive_temperature,
            )
        if batch.anchors is not None:
            cosines = (embeddings * batch.anchors).sum(dim=1)
            loss = loss + self._plan.anchor_weight * (1 - cosines).mean()
        return loss

    def _gathered(self, embeddings: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return embeddings and targets of all rows that the batch is a share of."""
        if batch.dealt == len(embeddings):
            return embeddings, batch.targets
        return (
            self._group.gather(embeddings, batch.dealt),
            self._group.gather(batch.targets, batch.dealt),
        )

    def _classification(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self._log_prior is not None:
            logits = logits + self._plan.class_balance * self._log_prior
        return losses.classification(logits, targets, smoothing=self._plan.label_smoothing).mean()

    def _embed(self, batch: Batch) -> Tensor:
        ids, mask = batch.input_ids, batch.attention_mask
        shown = _hide(mask, self._plan.token_dropout)
        if not self._frozen.count:
            return cast("Tensor", self.encoder(ids, shown))
        states = self._frozen.states(ids, mask) if batch.states is None else batch.states
        with self._frozen.passed(states):
            return cast("Tensor", self.encoder(ids, shown))


def _hide(mask: Tensor, share: float) -> Tensor:
    """Return the mask with a share of the tokens taken out, the first of a text never.

    Nobody attends to a hidden token and the mean leaves it out, as if the text had been said in
    fewer words: each epoch sees other texts. Needs no mask token, which not every base has.
    """
    if not share:
        return mask
    shown = torch.rand(mask.shape, device=mask.device) >= share
    shown[:, 0] = True
    return mask * shown


def _optimizer(
    encoder: SentenceEncoder, frozen: FrozenLayers, head: nn.Linear, plan: Plan
) -> tuple[torch.optim.Optimizer, list[float]]:
    """Make AdamW, and return the peak rate of each of its groups as well.

    The table of word vectors stays as it is, as does a pooler nobody uses. The table is half of a
    small encoder's numbers, and a few hundred rows touch few of its words: leaving it alone costs
    no accuracy and saves its dense update in every step.
    """
    for name, parameter in encoder.backbone.named_parameters():
        if name.startswith("pooler."):
            parameter.requires_grad_(False)  # noqa: FBT003 (torch's own signature)
    words = encoder.backbone.get_input_embeddings()  # type: ignore[operator] # of every transformer
    words.weight.requires_grad_(False)  # noqa: FBT003 (torch's own signature)
    groups = []
    rates = []
    for depth, tensors in frozen.by_depth():
        rate = plan.learning_rate * plan.layer_decay**depth
        # Biases and norms are scales, not strengths: nothing to shrink.
        for decay, chosen in (
            (plan.weight_decay, [tensor for tensor in tensors if tensor.ndim > 1]),
            (0.0, [tensor for tensor in tensors if tensor.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay})
                rates.append(rate)
    groups.append({"params": list(head.parameters()), "weight_decay": 0.0})
    rates.append(plan.head_learning_rate)
    return torch.optim.AdamW(groups, lr=plan.learning_rate, fused=True), rates
