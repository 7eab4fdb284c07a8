"""The order in which rows are trained on. Knows lengths, no tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_POOL_BATCHES = 50
# Rows are shuffled, then sorted by length inside pools of 50 batches: on short messages padding
# falls from some 60 % of all token slots to under 10 %, and a pool still mixes the labels.


def length_grouped(
    lengths: Sequence[int], batch_size: int, random: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Deal all rows into batches of like length, for one epoch.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows of a batch; the last of the rows may make a smaller one.
        random: Moved on by the call, so that each epoch differs.

    Returns:
        Row numbers per batch; every row once, batches in random order.
    """
    sizes = np.asarray(lengths)
    order = random.permutation(len(sizes))
    pool = batch_size * _POOL_BATCHES
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        rows = rows[np.argsort(sizes[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]
