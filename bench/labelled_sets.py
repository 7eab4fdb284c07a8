"""Labelled sets as benchmarks read them, and fixed draws of their rows."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.trainer.base_sources import PACKAGED
from services.trainer.labelled_texts import LabelledTexts

Pairs = Sequence[tuple[str, str]]
"""Text and label."""

_DRAWS = Path(__file__).parent / "draws"
_FOLDS = 5
_FIXED_ROWS = 10
# Of each label, in the draws that are checked in.

_MOST_SCORED = 2000
# A difference of a point on 2,000 rows, five times, is no luck any more.


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Rows to learn from and rows to be scored on."""

    labels: tuple[str, ...]
    train: LabelledTexts
    test: LabelledTexts


def draws(folder: Path, count: int) -> Iterator[Draw]:
    """Yield the first draws of a set, the same each time.

    Args:
        folder: Holds `train.csv`, text and label without a header; its name is in `SETS`.
        count: Of five.
    """
    for number in range(count):
        train, test = SETS[folder.name](folder, number)
        labels = tuple(sorted({label for _, label in train}))
        yield Draw(labels=labels, train=_labelled(train, labels), test=_labelled(test, labels))


def published(data: Path, name: str, number: int) -> Draw:
    """Return one draw of any set, to be scored on rows that nobody has learnt from.

    Args:
        data: Holds `SET/{train,validation,test}.csv`, text and label without a header.
        name: `SET` learns from all training rows and is scored on its test file, else on its
            validation file, else on a fifth of the rows, another one in each draw. `SET@K` learns
            from K rows of each label: those checked in under `bench/draws`, or a seeded draw; and
            is scored on the test file, else the validation file, else the rows that are left.
        number: Which draw.
    """
    folder = data / name.partition("@")[0]
    everything = read(folder / "train.csv")
    held = next(
        (read(path) for path in (folder / "test.csv", folder / "validation.csv") if path.is_file()),
        None,
    )
    if "@" in name:
        drawn = _few(folder, everything, int(name.partition("@")[2]), number)
    elif held is None:
        order = np.random.default_rng(0).permutation(len(everything))
        drawn = np.setdiff1d(order, np.array_split(order, _FOLDS)[number % _FOLDS]).tolist()
    else:
        drawn = list(range(len(everything)))
    train = [everything[row] for row in drawn]
    if held is None:
        rest = np.setdiff1d(np.arange(len(everything)), drawn)
        held = [everything[row] for row in rest]
    labels = tuple(sorted({label for _, label in train}))
    # A label that was never learnt cannot be told by any contender.
    known = [pair for pair in held if pair[1] in set(labels)]
    return Draw(labels=labels, train=_labelled(train, labels), test=_labelled(known, labels))


def _few(folder: Path, everything: Pairs, count: int, number: int) -> list[int]:
    fixed = _DRAWS / f"{folder.name}.json"
    if fixed.is_file():
        found = json.loads(fixed.read_text())
        if count == _FIXED_ROWS and number < len(found["draws"]):
            return list(found["draws"][number])
    taken: Counter[str] = Counter()
    drawn = []
    for row in np.random.default_rng(number).permutation(len(everything)).tolist():
        label = everything[row][1]
        if taken[label] < count:
            taken[label] += 1
            drawn.append(row)
    return drawn


def small_base() -> Path:
    """Find the packaged base without importing its package."""
    packaged = PACKAGED["small"]
    found = importlib.util.find_spec(packaged.package)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"The package {packaged.package} is not installed: install the extra `trainer`.")
    return Path(next(iter(found.submodule_search_locations))) / packaged.directory


def read(path: Path) -> Pairs:
    """Read a file of text and label without a header."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(text, label) for text, label in csv.reader(file)]


def _ten_per_label(folder: Path, number: int) -> tuple[Pairs, Pairs]:
    drawn = json.loads((_DRAWS / f"{folder.name}.json").read_text())["draws"][number]
    return _part(read(folder / "train.csv"), drawn, number)


def _fold(folder: Path, number: int) -> tuple[Pairs, Pairs]:
    """Hold out a fifth of the rows, another one in each draw."""
    everything = read(folder / "train.csv")
    order = np.random.default_rng(0).permutation(len(everything))
    held = np.array_split(order, _FOLDS)[number]
    return _part(everything, np.setdiff1d(order, held).tolist(), number)


def _thousand(folder: Path, number: int) -> tuple[Pairs, Pairs]:
    everything = read(folder / "train.csv")
    drawn = np.random.default_rng(number).permutation(len(everything))[:1000]
    return _part(everything, drawn.tolist(), number)


def _part(everything: Pairs, drawn: Sequence[int], number: int) -> tuple[Pairs, Pairs]:
    """Return the rows of a draw, and some of those that it left over."""
    rest = np.setdiff1d(np.arange(len(everything)), drawn)
    scored = np.random.default_rng(number).permutation(rest)[:_MOST_SCORED]
    return [everything[row] for row in drawn], [everything[row] for row in scored]


SETS: Mapping[str, Callable[[Path, int], tuple[Pairs, Pairs]]] = {
    "banking77": _ten_per_label,
    "amazon_cells": _fold,
    "nusax_sentiment": _thousand,
}
"""How the rows of each set are drawn."""


def _labelled(pairs: Pairs, labels: Sequence[str]) -> LabelledTexts:
    ids = {label: number for number, label in enumerate(labels)}
    return LabelledTexts(
        texts=[text for text, _ in pairs], label_ids=[ids[label] for _, label in pairs]
    )
