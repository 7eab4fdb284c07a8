"""The encoder as a torch module: ids and mask in, one vector of length 1 per text out.

Knows no labels and no text: `tokenize` makes the ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from services.trainer.base_import import BaseEncoder, Pooling
from services.trainer.tokenize import TokenIds

IdSequence = Sequence[int] | npt.NDArray[np.integer[Any]]

_EMBED_BATCH = 64
# 64 short texts fill a core's matrix units; more only costs memory.


class SentenceEncoder(nn.Module):
    """A transformer, its pooling, and the projection to the unit sphere."""

    def __init__(self, backbone: nn.Module, pooling: Pooling) -> None:
        """Take a transformer whose first output is `last_hidden_state`."""
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where inputs have to be."""
        return next(self.parameters()).device

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed a padded batch.

        Args:
            input_ids: int64 [B, L].
            attention_mask: int64 [B, L], 0 where padded; each row has a 1.

        Returns:
            float32 [B, D], each row of length 1.
        """
        hidden: Tensor = self.backbone(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state  # [B, L, D]
        if self.pooling is Pooling.CLS:
            return nn.functional.normalize(hidden[:, 0], dim=-1)
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # [B, L, 1]
        if self.pooling is Pooling.MAX:
            least = torch.finfo(hidden.dtype).min
            highest = hidden.masked_fill(mask == 0, least).amax(dim=1)
            return nn.functional.normalize(highest, dim=-1)
        # The mean's divisor would be cancelled by the normalisation, but keeps half floats safe.
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        return nn.functional.normalize(mean, dim=-1)


def load_encoder(base: BaseEncoder) -> SentenceEncoder:
    """Load the weights of a base in float32, in evaluation mode."""
    # A progress bar of one file says nothing in a log.
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call] # types it not
    backbone = AutoModel.from_pretrained(
        base.directory,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32,
    )
    return SentenceEncoder(cast("nn.Module", backbone), base.pooling).eval()


def collate(sequences: Iterable[IdSequence], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Pad token ids on the right to the longest.

    Returns:
        Ids and mask, both int64 [B, L].
    """
    rows = [torch.as_tensor(sequence, dtype=torch.int64) for sequence in sequences]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_token_id)
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
    return ids, mask.to(torch.int64)


def embed(
    encoder: SentenceEncoder,
    sequences: Sequence[Sequence[int]] | TokenIds,
    pad_token_id: int,
    *,
    before_batch: Callable[[], None] = lambda: None,
) -> npt.NDArray[np.float32]:
    """Embed token ids without gradients, in batches of like length.

    The encoder is left in the mode (training or evaluation) that it was in.

    Args:
        encoder: Used in evaluation mode.
        sequences: N texts' ids.
        pad_token_id: Of the base.
        before_batch: Called before each batch; what it raises ends the work.

    Returns:
        [N, D], rows as in `sequences`.
    """
    lengths = (
        sequences.lengths
        if isinstance(sequences, TokenIds)
        else [len(sequence) for sequence in sequences]
    )
    order = np.argsort(lengths, kind="stable")
    batches: list[npt.NDArray[np.float32]] = []
    training, device = encoder.training, encoder.device
    encoder.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(order), _EMBED_BATCH):
                before_batch()
                rows = order[start : start + _EMBED_BATCH]
                ids, mask = collate((sequences[row] for row in rows), pad_token_id)
                batches.append(encoder(ids.to(device), mask.to(device)).cpu().numpy())
    finally:
        encoder.train(training)
    result = np.empty((len(order), batches[0].shape[1]), dtype=np.float32)
    result[order] = np.concatenate(batches)
    return result
