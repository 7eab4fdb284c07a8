"""The order in which rows are trained on. Knows lengths and labels, no tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from services.trainer.learning.targets import Targets

Rows = npt.NDArray[np.int64]

_POOL_BATCHES = 50
# Rows are shuffled, then sorted by length inside pools of 50 batches: on short messages padding
# falls from some 60 % of all token slots to under 10 %, and a pool still mixes the labels.

_TOKENS_AT_ONCE = 8192
# What is kept for the backward pass grows with the tokens, padding included: 8,192 of them take
# some 1.5 GB in a base of 6 layers and 384 dimensions. 32 texts of 512 tokens would be twice that.


def length_grouped(lengths: Rows, batch_size: int, random: np.random.Generator) -> list[Rows]:
    """Deal all rows into batches of like length, for one epoch.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows of a batch; the last of the rows may make a smaller one.
        random: Moved on by the call, so that each epoch differs.

    Returns:
        Row numbers per batch; every row once, batches in random order.
    """
    return _deal(random.permutation(len(lengths)), lengths, batch_size, random)


def paired(
    lengths: Rows, label_ids: Targets, batch_size: int, random: np.random.Generator
) -> list[Rows]:
    """Deal all rows into batches in which most rows have another one of their label (P x K).

    Args:
        lengths: Tokens of each row.
        label_ids: int64 [N]
        batch_size: As for `length_grouped`.
        random: As for `length_grouped`.

    Returns:
        As `length_grouped`.
    """
    order = random.permutation(len(label_ids))
    order = order[np.argsort(label_ids[order], kind="stable")]
    _, starts, counts = np.unique(label_ids[order], return_index=True, return_counts=True)
    begins_pair = (np.arange(len(order)) - np.repeat(starts, counts)) % 2 == 0
    pair_of = np.cumsum(begins_pair) - 1
    longest = np.zeros(pair_of[-1] + 1, dtype=np.int64)
    np.maximum.at(longest, pair_of, lengths[order])
    shuffled = np.argsort(random.permutation(len(longest))[pair_of], kind="stable")
    # Rows of a pair stay beside each other, as they are sorted by one and the same length.
    keys = np.empty(len(order), dtype=np.int64)
    keys[order] = longest[pair_of]
    return _deal(order[shuffled], keys, batch_size, random)


def _deal(order: Rows, lengths: Rows, batch_size: int, random: np.random.Generator) -> list[Rows]:
    pool = batch_size * _POOL_BATCHES
    batches: list[Rows] = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def affordable(lengths: Rows, workers: int = 1) -> Iterator[slice]:
    """Cut a batch into parts that fit into memory at once.

    Args:
        lengths: Tokens of the batch's rows.
        workers: That a part is dealt out to.

    Yields:
        Which rows; a row that is too long by itself comes alone.
    """
    most = _TOKENS_AT_ONCE * workers
    start, longest = 0, 0
    for end, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if longest * (end - start + 1) > most and end > start:
            yield slice(start, end)
            start, longest = end, length
    yield slice(start, len(lengths))
