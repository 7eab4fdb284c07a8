"""Layers that do not learn: passed once, their states kept on the disk for all epochs."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from services.trainer.encoder import SentenceEncoder, collate
from services.trainer.head import Floats
from services.trainer.learning.batches import Rows
from services.trainer.tokenize import TokenIds

_MOST_BYTES = 16 << 30
# 1,000,000 texts of 20 tokens in 384 dimensions. More is computed anew in each epoch.

_KEPT = np.dtype(np.float16)
_BATCH = 64

_WIDENING, _LAST_NORM = "embeddings_project", "final_norm"
# What some families have before the first layer, and behind the last.


class FrozenLayers:
    """The lowest layers of an encoder.

    Without dropout, which `hold` turns off in them, a text's states after these layers are the
    same in every epoch.
    """

    def __init__(self, encoder: SentenceEncoder, count: int, *, layers: int) -> None:
        """Take the encoder's lowest `count` of `layers`; 0 takes none, and nothing is frozen."""
        self._backbone = encoder.backbone
        self.count = count
        name, found = next(
            (name, module)
            for name, module in encoder.backbone.named_modules()
            if isinstance(module, nn.ModuleList) and len(module) == layers
        )
        self._place = name
        self._all = found
        self._lower = nn.ModuleList(list(found)[:count])
        self._upper = nn.ModuleList(list(found)[count:])
        self._words = encoder.backbone.get_submodule("embeddings")
        if count:
            # All but the upper ones: what layers share, as MPNet's bias of positions, would move
            # the lower ones as well, whose states are kept.
            above = {id(tensor) for tensor in self._upper.parameters()}
            for place, tensor in encoder.backbone.named_parameters():
                if id(tensor) not in above and not place.startswith(f"{_LAST_NORM}."):
                    tensor.requires_grad_(False)  # noqa: FBT003 (torch's own signature)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self._backbone.parameters()).device

    def by_depth(self) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield what learns, by its distance from the uppermost layer.

        What belongs to no layer counts as the lowest one where texts come in, and as the uppermost
        where they go out.
        """
        layer_of = {
            id(tensor): number
            for number, layer in enumerate(self._all)
            for tensor in layer.parameters()
        }
        below = {id(tensor) for tensor in self._words.parameters()}
        depths: dict[int, list[Tensor]] = {}
        for tensor in self._backbone.parameters():
            if tensor.requires_grad:
                lowest = -1 if id(tensor) in below else len(self._all) - 1
                number = layer_of.get(id(tensor), lowest)
                depths.setdefault(len(self._all) - 1 - number, []).append(tensor)
        yield from sorted(depths.items())

    def hold(self) -> None:
        """Keep dropout out of them, after the encoder was set to learn."""
        if self.count:
            self._words.eval()
            self._lower.eval()

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return what comes out of them, float32 [B, L, D], without gradients."""
        with torch.no_grad(), self._having(self._lower, self._words):
            states: Tensor = self._backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        return states

    @contextmanager
    def passed(self, states: Tensor) -> Iterator[None]:
        """Let the encoder begin with these states instead of its input, for a while."""
        with self._having(self._upper, _Given(states)):
            yield

    @contextmanager
    def _having(self, layers: nn.ModuleList, words: nn.Module) -> Iterator[None]:
        backbone = self._backbone
        # What comes before all layers belongs to the lower ones, what comes behind to the upper.
        other = _LAST_NORM if layers is self._lower else _WIDENING
        passed_over = getattr(backbone, other, None)
        backbone.set_submodule(self._place, layers)
        backbone.set_submodule("embeddings", words)
        if passed_over is not None:
            backbone.set_submodule(other, nn.Identity())
        try:
            yield
        finally:
            backbone.set_submodule(self._place, self._all)
            backbone.set_submodule("embeddings", self._words)
            if passed_over is not None:
                backbone.set_submodule(other, passed_over)


class _Given(nn.Module):
    """Stands where ids become vectors, and returns what is there already."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self._states = states

    def forward(self, *_: object, **__: object) -> Tensor:
        return self._states


class KeptStates:
    """The states of all rows after the frozen layers: half floats in a file without a name.

    Read and written, not mapped: pages of a map count as this process's memory, and of a million
    texts they are more than all the rest.

    Args:
        tokens: Of all rows.
        dimensions: Of a state.
    """

    def __init__(self, tokens: TokenIds, dimensions: int) -> None:
        """Make room for them.

        Raises:
            OSError: Where the disk has none.
        """
        self._starts = tokens.offsets
        self._dimensions = dimensions
        self._token_bytes = dimensions * _KEPT.itemsize
        # The file has no name: it is gone when it is closed, also where the process is killed.
        with tempfile.TemporaryFile(prefix="states-") as file:
            # Now: where there is no room, everything can still be computed anew.
            os.posix_fallocate(file.fileno(), 0, int(tokens.offsets[-1]) * self._token_bytes)
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)

    def put(self, row: int, states: Floats) -> None:
        """Keep the states of a row, [L, D]."""
        os.pwrite(self._file, states.astype(_KEPT).tobytes(), self._place(row))

    def batch(self, rows: Rows, length: int) -> Tensor:
        """Return float32 [B, L, D], zeros where padded."""
        states = torch.zeros((len(rows), length, self._dimensions))
        for place, row in enumerate(rows.tolist()):
            size = self._place(row + 1) - self._place(row)
            kept = np.frombuffer(os.pread(self._file, size, self._place(row)), dtype=_KEPT)
            found = kept.reshape(-1, self._dimensions).astype(np.float32)
            states[place, : len(found)] = torch.from_numpy(found)
        return states

    def _place(self, row: int) -> int:
        """Return where a row begins in the file."""
        return int(self._starts[row]) * self._token_bytes


def keep_states(
    frozen: FrozenLayers,
    tokens: TokenIds,
    pad_token_id: int,
    dimensions: int,
    check: Callable[[], None],
    *,
    free_bytes: Callable[[], int] = lambda: shutil.disk_usage(tempfile.gettempdir()).free,
) -> KeptStates | None:
    """Pass all rows through the frozen layers; None where the states would take too much space.

    Args:
        frozen: At least one layer.
        tokens: Of all rows.
        pad_token_id: Of the base.
        dimensions: Of a state.
        check: Called before each batch; what it raises ends the work.
        free_bytes: How much room the disk has. Half of it is left to others.
    """
    size = int(tokens.offsets[-1]) * dimensions * _KEPT.itemsize
    if size > min(_MOST_BYTES, free_bytes() // 2):
        return None
    try:
        kept = KeptStates(tokens, dimensions)
    except OSError:
        # Somebody else took it meanwhile.
        return None
    frozen.hold()
    order = np.argsort(tokens.lengths, kind="stable")
    for start in range(0, len(order), _BATCH):
        check()
        rows = order[start : start + _BATCH]
        ids, mask = collate((tokens[row] for row in rows), pad_token_id)
        found = frozen.states(ids.to(frozen.device), mask.to(frozen.device)).cpu().numpy()
        for row, states, length in zip(rows, found, tokens.lengths[rows], strict=True):
            kept.put(row, states[:length])
    return kept
