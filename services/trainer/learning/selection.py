"""Which rows things are chosen on: cut off from the training rows, never learnt from.

Knows targets and groups of near duplicates, no texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.trainer.learning.targets import Targets, counts, is_multi, strata

Rows = npt.NDArray[np.int64]
"""Row numbers, ascending."""

Units = npt.NDArray[np.bool_]
"""Of each group of near duplicates, and of each row outside of any, whether it is chosen."""

_FEW = 20
# Of each label at least, or the mean of a rare label would be that of a row or two.


def cut_dev(targets: Targets, groups: Rows, rows: int, *, seed: int) -> tuple[Rows, Rows]:
    """Cut rows off, label by label in proportion.

    Near duplicates stay on one side: where they were apart, the rows that are chosen on would be
    rows that were learnt by heart. A label keeps a row to learn from before it gives one, and
    keeps any group that is larger than its share. Labels whose share is less than half a row give
    it together: one row each would cost a label of five a fifth of what there is to learn, and
    no choice is made on one row of a label.

    Args:
        targets: Of N rows.
        groups: [N], the number of each row's group of near duplicates; -1 outside of any.
        rows: How many to cut off, about; 0 cuts none.
        seed: Of the choice.

    Returns:
        The rows to learn from and the rows cut off.
    """
    everything = np.arange(len(targets))
    if rows == 0:
        return everything, everything[:0]
    labels, units = strata(targets), _units(groups)
    share = rows / len(targets)
    random = np.random.default_rng(seed)
    spent = np.zeros(len(targets), dtype=np.bool_)
    # A group has one home: the label of its first row decides, and the rows of all come along.
    _, first, unit_of = np.unique(units, return_index=True, return_inverse=True)
    sizes = np.bincount(unit_of)
    home = labels[first]
    rare: list[Rows] = []
    for label in np.unique(home):
        mine = random.permutation(np.flatnonzero(home == label))
        if _share(share, sizes[mine]) == 0:
            rare.append(mine)
            continue
        giving = mine[sizes[mine] <= _share(share, sizes[mine])]
        before = np.cumsum(sizes[giving]) - sizes[giving]
        chosen = giving[before < _share(share, sizes[giving])][: len(mine) - 1]
        spent[chosen] = True
    spent[_one_of_some(rare, sizes, share, random)] = True
    _give_back(spent, unit_of, targets)
    cut = spent[unit_of]
    return np.flatnonzero(~cut), np.flatnonzero(cut)


def _give_back(spent: Units, unit_of: Rows, targets: Targets) -> None:
    """Take back one unit of each label that has no row left to learn from.

    Rows are dealt by one label each: others that they have, or that their near duplicates have,
    may go with them to the last row.

    Args:
        spent: Which units are cut off; changed.
        unit_of: [N], the unit of each row.
        targets: Of the rows.
    """
    labels = targets.shape[1] if is_multi(targets) else int(targets.max()) + 1
    cut = counts(targets[spent[unit_of]], labels)
    for label in np.flatnonzero((cut > 0) & (cut == counts(targets, labels))):
        having = targets[:, label] if is_multi(targets) else targets == label
        spent[unit_of[np.argmax(having)]] = False


def _share(share: float, sizes: Rows) -> int:
    return round(share * int(sizes.sum()))


def _one_of_some(
    rare: Sequence[Rows], sizes: Rows, share: float, random: np.random.Generator
) -> Rows:
    """Return one unit of each of some rare labels, as many as is their share together."""
    wanted = round(share * sum(int(sizes[mine].sum()) for mine in rare))
    giving = [mine[sizes[mine] == 1][:1] for mine in rare if len(mine) > 1]
    return random.permutation(np.concatenate([np.empty(0, np.int64), *giving]))[:wanted]


def folds(targets: Targets, groups: Rows, count: int, *, seed: int) -> list[Rows]:
    """Deal all rows into folds, label by label; near duplicates share a fold.

    Args:
        targets: Of N rows.
        groups: As `cut_dev` takes them.
        count: Folds, at least 2.
        seed: Of the dealing.

    Returns:
        The rows of each fold.
    """
    labels, units = strata(targets), _units(groups)
    _, first, unit_of = np.unique(units, return_index=True, return_inverse=True)
    random = np.random.default_rng(seed)
    order = random.permutation(len(first))
    order = order[np.argsort(labels[first][order], kind="stable")]
    fold_of = np.empty(len(first), dtype=np.int64)
    # Dealt like cards, label after label: folds differ by one row of a label at most.
    fold_of[order] = np.arange(len(order)) % count
    return [np.flatnonzero(fold_of[unit_of] == fold) for fold in range(count)]


def _units(groups: Rows) -> Rows:
    """Number what is dealt as one: a group, or a row outside of any."""
    alone = groups < 0
    units = groups.astype(np.int64)
    units[alone] = groups.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return units


def sample(targets: Targets, rows: int, *, seed: int) -> Rows:
    """Choose rows that stand for all: each label in proportion, and at least a few rows of it.

    Args:
        targets: Of N rows.
        rows: About how many; all where there are no more.
        seed: Of the choice.
    """
    if len(targets) <= rows:
        return np.arange(len(targets))
    labels = strata(targets)
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    wanted = np.maximum(_FEW, np.round(sizes * (rows / len(targets)))).astype(np.int64)
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    return np.sort(order[place < np.repeat(wanted, sizes)])
