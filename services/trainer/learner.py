"""The step that learns: loss, gradients, optimiser, and the average that is kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from services.trainer.encoder import SentenceEncoder
from services.trainer.head import Head
from services.trainer.moving_average import MovingAverage
from services.trainer.recipe import EMA_DECAY, GRADIENT_NORM, HEAD_RATE, WEIGHT_DECAY, Plan


class Learner:
    """An encoder and its head while they learn."""

    def __init__(self, encoder: SentenceEncoder, start: Head, plan: Plan) -> None:
        """Take an encoder, which is changed in place, and the head to start from."""
        self.encoder = encoder
        labels, dimensions = start.weight.shape
        self._head = nn.Linear(dimensions, labels)
        with torch.no_grad():
            self._head.weight.copy_(torch.from_numpy(start.weight))
            self._head.bias.copy_(torch.from_numpy(start.bias))
        self._optimizer = _optimizer(encoder, self._head, plan)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, plan.rate)
        self._parameters = [
            tensor for group in self._optimizer.param_groups for tensor in group["params"]
        ]
        self.average = MovingAverage(self._parameters, EMA_DECAY)

    @property
    def head(self) -> Head:
        """A copy of the head as it is."""
        return Head(
            weight=self._head.weight.detach().numpy().copy(),
            bias=self._head.bias.detach().numpy().copy(),
        )

    def step(self, input_ids: Tensor, attention_mask: Tensor, label_ids: Tensor) -> None:
        """Learn from one batch.

        Args:
            input_ids: int64 [B, L].
            attention_mask: int64 [B, L].
            label_ids: int64 [B].
        """
        self.encoder.train()
        logits = self._head(self.encoder(input_ids, attention_mask))  # [B, K]
        loss = nn.functional.cross_entropy(logits, label_ids)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch types it not
        nn.utils.clip_grad_norm_(self._parameters, GRADIENT_NORM)
        self._optimizer.step()
        self._schedule.step()
        self.average.update()


def _optimizer(encoder: SentenceEncoder, head: nn.Linear, plan: Plan) -> torch.optim.Optimizer:
    """Make AdamW; the table of word vectors stays as it is, as does a pooler nobody uses.

    The table is half of a small encoder's numbers, and a few hundred rows touch few of its
    words: leaving it alone costs no accuracy and saves its dense update in every step.
    """
    for name, parameter in encoder.backbone.named_parameters():
        if name.startswith("pooler."):
            parameter.requires_grad_(False)  # noqa: FBT003 (torch's own signature)
    words = encoder.backbone.get_input_embeddings()  # type: ignore[operator] # of every transformer
    words.weight.requires_grad_(False)  # noqa: FBT003 (torch's own signature)
    trained = [tensor for tensor in encoder.parameters() if tensor.requires_grad]
    groups = (
        ([tensor for tensor in trained if tensor.ndim > 1], 1.0, WEIGHT_DECAY),
        # Biases and norms are scales, not strengths: nothing to shrink.
        ([tensor for tensor in trained if tensor.ndim <= 1], 1.0, 0.0),
        (list(head.parameters()), HEAD_RATE, 0.0),
    )
    return torch.optim.AdamW(
        [
            {"params": tensors, "lr": plan.learning_rate * factor, "weight_decay": decay}
            for tensors, factor, decay in groups
        ],
        fused=True,
    )
