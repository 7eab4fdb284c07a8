"""What a step makes small. Knows tensors, no encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FAR_BELOW = -1e4
# Added to what must not count in a softmax; finite, so that a row of nothing else has a gradient.


def classification(logits: Tensor, targets: Tensor, *, smoothing: float) -> Tensor:
    """Return the loss of each row, [B]: cross-entropy, or its sum over labels by themselves.

    Args:
        logits: float32 [B, K].
        targets: int64 [B], or float32 [B, K] of 0 and 1.
        smoothing: Share of the target that is spread over all labels, or over yes and no.
    """
    if targets.ndim == 1:
        return nn.functional.cross_entropy(
            logits, targets, label_smoothing=smoothing, reduction="none"
        )
    spread = targets * (1 - smoothing) + smoothing / 2
    # Summed, not averaged: each label then moves the encoder as if it were alone.
    losses = nn.functional.binary_cross_entropy_with_logits(logits, spread, reduction="none")
    return losses.sum(dim=1)


def contrastive(embeddings: Tensor, targets: Tensor, *, temperature: float) -> Tensor:
    """Return how far rows with a label in common are from being each other's nearest (SupCon).

    Khosla et al. (2020). With several labels a row, two rows count by the share of their labels
    that they have in common.

    Args:
        embeddings: float32 [B, D], rows of length 1.
        targets: As `classification` takes them.
        temperature: Cosines are divided by it.

    Returns:
        A scalar; 0 where no two rows have a label in common.
    """
    itself = torch.eye(len(embeddings), device=embeddings.device)
    likeness = _likeness(targets) * (1 - itself)
    logits = embeddings @ embeddings.T / temperature + _FAR_BELOW * itself
    losses = -(likeness * nn.functional.log_softmax(logits, dim=1)).sum(dim=1)
    weights = likeness.sum(dim=1)
    paired = weights > 0
    if not paired.any():
        return embeddings.sum() * 0.0
    return (losses[paired] / weights[paired]).mean()


def _likeness(targets: Tensor) -> Tensor:
    """Return [B, B]: the share of labels in common, 0 to 1."""
    if targets.ndim == 1:
        return (targets[:, None] == targets[None, :]).float()
    common = targets @ targets.T
    sizes = targets.sum(dim=1)
    return common / (sizes[:, None] + sizes[None, :] - common).clamp(min=1)
