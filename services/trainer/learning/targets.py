"""What texts should be answered with: one label each, or any number of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Targets = npt.NDArray[Any]
"""int64 [N], the id of each row's label; or bool [N, K], whether each row has each label."""

Indicators = npt.NDArray[np.bool_]

_ROWS_AT_ONCE = 4096
# A rank takes four bytes where an indicator takes one: of all rows they would be most of a run's
# memory where there are many labels.


def is_multi(targets: Targets) -> bool:
    """Tell whether a row can have several labels."""
    return targets.dtype == np.bool_


def indicators(targets: Targets, labels: int) -> Indicators:
    """Return bool [N, K]: whether each row has each label."""
    if is_multi(targets):
        return targets.astype(np.bool_, copy=False)
    matrix = np.zeros((len(targets), labels), dtype=np.bool_)
    matrix[np.arange(len(targets)), targets] = True
    return matrix


def from_sets(label_sets: Sequence[Sequence[int]], labels: int) -> Indicators:
    """Return bool [N, K] for the ids of each row's labels, which may be none."""
    matrix = np.zeros((len(label_sets), labels), dtype=np.bool_)
    rows = np.repeat(np.arange(len(label_sets)), [len(ids) for ids in label_sets])
    matrix[rows, [label for ids in label_sets for label in ids]] = True
    return matrix


def counts(targets: Targets, labels: int) -> npt.NDArray[np.int64]:
    """Return how many rows have each label, [K]."""
    if is_multi(targets):
        sums: npt.NDArray[np.int64] = targets.sum(axis=0, dtype=np.int64)
        return sums
    return np.bincount(targets, minlength=labels)


def strata(targets: Targets) -> npt.NDArray[np.int64]:
    """Return the label by which each row is dealt, [N]: with several, its rarest; -1 with none."""
    if not is_multi(targets):
        return targets
    rarity = np.argsort(np.argsort(targets.sum(axis=0), kind="stable")).astype(np.int32)
    result = np.empty(len(targets), dtype=np.int64)
    for start in range(0, len(targets), _ROWS_AT_ONCE):
        part = targets[start : start + _ROWS_AT_ONCE]
        ranks = np.where(part, rarity, np.int32(targets.shape[1]))
        result[start : start + len(part)] = np.where(part.any(axis=1), ranks.argmin(axis=1), -1)
    return result
