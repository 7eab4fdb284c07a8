"""How near texts lie to the rows that a model learnt from: some of the rows stand for all.

The distance to the k-th nearest of them tells texts of their kind from others (Sun et al., 2022,
"Out-of-Distribution Detection with Deep Nearest Neighbors"). Knows vectors and targets, no texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.common.neighbours import HELD_OUT_STEPS, MAX_ROWS
from services.trainer.head import Floats
from services.trainer.learning.fitting import Fitting
from services.trainer.learning.rows import Part, TrainingRows
from services.trainer.learning.selection import Rows
from services.trainer.learning.targets import Targets, is_multi, strata

_NEAREST = 1
# With ten rows a label the tenth is one of another label, and tells less than confidence does; with
# a hundred it makes little difference.

_BLOCK = 1024
# 1,024 rows against 5,000 are 20 MB of float32 cosines.


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a training made of the rows that it learnt from, and of those held from it."""

    known: Rows
    """[M], rows that stand for those that it learnt from."""

    vectors: Floats
    """[M, D], theirs, of length 1."""

    logits: Floats
    """[H, K], of the rows that were held."""

    cosines: Floats
    """[H], how near each of those comes to the rows that were learnt from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What texts are compared with, to be explained or found to be of another kind."""

    known: Rows
    """[M], rows that stand for those that the model learnt from, ascending."""

    vectors: Floats
    """[M, D], theirs, of length 1."""

    nearest: int
    """Which of the nearest, from 1, tells how near a text is."""

    held_out_cosines: Floats
    """[101], the cosine to it of rows that were held, from the smallest in equal steps to the
    largest; empty where none were held."""


def look(rows: TrainingRows, part: Part, fitting: Fitting) -> Outlook:
    """Look at what a training has made of its part of the rows.

    Args:
        rows: All.
        part: What was learnt, and what was held.
        fitting: The training, done.
    """
    drawn = draw(rows.targets[part.learnt], MAX_ROWS, seed=rows.plan.seed)
    known = part.learnt[drawn]
    vectors = rows.embed(fitting.encoder, known)
    held = rows.embed(fitting.encoder, part.held)
    return Outlook(
        known=known,
        vectors=vectors,
        logits=fitting.learner.head.logits(held),
        cosines=cosines(held, vectors),
    )


def neighbourhood(main: Outlook, held_out_cosines: Floats) -> Neighbourhood:
    """Return what is kept of the published training.

    Args:
        main: The outlook of that one.
        held_out_cosines: [H], of the rows that were held from it, or from others in its place.
    """
    steps = np.linspace(0.0, 1.0, HELD_OUT_STEPS)
    spread = np.quantile(held_out_cosines, steps) if len(held_out_cosines) else held_out_cosines
    return Neighbourhood(
        known=main.known,
        vectors=main.vectors,
        nearest=_count(main.vectors),
        held_out_cosines=spread.astype(np.float32),
    )


def draw(targets: Targets, most: int, *, seed: int) -> Rows:
    """Draw rows that stand for all, label by label in proportion.

    A row of each label comes first, so that none is missing while there are fewer labels than rows
    to draw.

    Args:
        targets: Of N rows.
        most: How many to draw; all where there are no more.
        seed: Of the draw.

    Returns:
        The rows, ascending.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    labels = strata(targets)[order]
    order = order[np.argsort(labels, kind="stable")]
    sizes = np.unique(labels, return_counts=True)[1]
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    # Of every label the same share of rows is below any number: cut anywhere, it is in proportion.
    place = (np.arange(len(order)) - starts + 0.5) / np.repeat(sizes, sizes)
    place[np.isin(order, _first_of_each(targets))] = 0.0
    return np.sort(order[np.argsort(place, kind="stable")[:most]])


def _first_of_each(targets: Targets) -> Rows:
    """Return the first row of each label; with several labels one row may be that of some."""
    first: Rows = (
        targets.argmax(axis=0)[targets.any(axis=0)]
        if is_multi(targets)
        else np.unique(targets, return_index=True)[1]
    )
    return first


def cosines(embeddings: Floats, known: Floats) -> Floats:
    """Return how near rows come to what is known: the cosine to the k-th nearest.

    Args:
        embeddings: [N, D], rows of length 1.
        known: [M, D], likewise.

    Returns:
        [N]
    """
    column = len(known) - _count(known)
    found = np.empty(len(embeddings), dtype=np.float32)
    for start in range(0, len(embeddings), _BLOCK):
        block = embeddings[start : start + _BLOCK] @ known.T
        found[start : start + _BLOCK] = np.partition(block, column, axis=1)[:, column]
    return found


def _count(known: Floats) -> int:
    return min(_NEAREST, len(known))
