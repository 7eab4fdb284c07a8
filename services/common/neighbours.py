"""The file of training rows that a model keeps: how it is written, and what it must be to be read.

Knows arrays; no store, no texts and not what the rows are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

MAX_ROWS = 5000
"""Rows that a model keeps: enough that further ones hardly move the distance to the nearest, and
with 1,024 dimensions 10 MB."""

HELD_OUT_STEPS = 101
"""Quantiles that tell how near texts come that were held out: one for each per cent."""

_FROM_ONE = 0.01
# How far the length of a vector may be from 1: half floats are a thousandth off.


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourRows:
    """N rows that a model was trained on."""

    vectors: npt.NDArray[np.float16]
    """[N, D], their embeddings, of length 1."""

    rows: npt.NDArray[np.int64]
    """[N], their places in the training split, from 0, ascending."""

    label_ids: npt.NDArray[np.int32]
    """The labels of all rows, one row after the other, as indices into the model's labels."""

    label_ends: npt.NDArray[np.int32]
    """[N], where the labels of each row end."""


def write(rows: NeighbourRows) -> bytes:
    """Return the file; equal rows give equal bytes."""
    return save({field.name: getattr(rows, field.name) for field in fields(rows)})


def read(content: bytes, *, rows: int, dimension: int, labels: int) -> NeighbourRows:
    """Read a file, and see that it is what its manifest says.

    Args:
        content: The file.
        rows: How many rows it has.
        dimension: Length of their vectors.
        labels: How many labels the model has.

    Raises:
        ValueError: Where it is anything else; says what, as a clause.
    """
    try:
        found = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError("cannot be read as safetensors") from error
    if missing := sorted({field.name for field in fields(NeighbourRows)} - found.keys()):
        raise ValueError(f"has no {missing[0]}")
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "vectors": (np.float16, (rows, dimension)),
        "rows": (np.int64, (rows,)),
        "label_ids": (np.int32, (found["label_ids"].size,)),
        "label_ends": (np.int32, (rows,)),
    }
    for name, (kind, shape) in expected.items():
        tensor = found[name]
        if tensor.dtype != kind or tensor.shape != shape:
            raise ValueError(
                f"has {name} of {tensor.dtype} and shape {tensor.shape}, instead of "
                f"{np.dtype(kind)} and {shape}"
            )
    result = NeighbourRows(**{name: found[name] for name in expected})
    for problem, wrong in _problems(result, labels):
        if wrong:
            raise ValueError(problem)
    return result


def _problems(found: NeighbourRows, labels: int) -> list[tuple[str, Any]]:
    lengths = np.linalg.norm(found.vectors.astype(np.float32), axis=1)
    rows, ends, ids = found.rows, found.label_ends, found.label_ids
    # Compared, not subtracted: differences of numbers that are wrong enough come out right.
    starts = np.concatenate([[0], ends[:-1]])
    return [
        ("has no rows", len(rows) == 0),
        # Not "greater than", which is false of what is no number.
        ("has vectors that are not of length 1", not (abs(lengths - 1) <= _FROM_ONE).all()),
        ("has rows that do not ascend from 0", (rows < 0).any() or (rows[1:] <= rows[:-1]).any()),
        ("has ends of labels that do not ascend", (ends < starts).any()),
        ("has labels of no row", ends[-1:].tolist() not in ([], [len(ids)])),
        ("has labels that the model has not", ((ids < 0) | (ids >= labels)).any()),
        ("has a row with more labels than the model has", (ends - starts > labels).any()),
    ]
