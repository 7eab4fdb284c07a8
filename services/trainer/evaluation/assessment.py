"""Everything that a run tells of its model, measured beside the untrained baseline.

Held-out rows are only scored; what is learnt of training rows is learnt on frozen embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.trainer.evaluation import heads, label_errors, learning_curve, neighbours, neutral
from services.trainer.evaluation.arrays import BoolArray, FloatArray, IntArray
from services.trainer.evaluation.cuts import Cut
from services.trainer.evaluation.cuts import measure as measure_cuts
from services.trainer.evaluation.geometry import Geometry, describe, draw, retention
from services.trainer.evaluation.label_errors import LabelError
from services.trainer.evaluation.learning_curve import LearningCurve
from services.trainer.evaluation.projection import Projection, project
from services.trainer.evaluation.scoring import Scored, WorstError, score, worst_errors
from services.trainer.evaluation.significance import Difference, difference
from services.trainer.learning.targets import Targets, indicators, is_multi

_SEED = 0
# Of all that is drawn: another seed of the training must not change how it is judged.

_MOST_LABEL_ERRORS = 100
_MAJORITY = 0.5


class Predictor(Protocol):
    """What answers: the fine-tuned model, or the baseline."""

    @property
    def thresholds(self) -> FloatArray:
        """[K] where a text can have several labels, else empty."""

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Return [N, D], rows of length 1."""

    def classify(self, embeddings: FloatArray) -> FloatArray:
        """Return probabilities [N, K] for embeddings [N, D], or for those of a length it knows."""


class Untrained(Predictor, Protocol):
    """The baseline, which has embedded training rows already."""

    @property
    def known(self) -> IntArray:
        """[M], which training rows."""

    @property
    def known_embeddings(self) -> FloatArray:
        """[M, D], theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Texts and what they are to be answered with."""

    texts: Sequence[str]
    targets: Targets
    """int [N], the label of each text; or bool [N, K], whether it has the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicions:
    """Training rows whose label is probably wrong."""

    errors: tuple[LabelError, ...]
    """The most suspicious, at most 100; rows are numbered as in the training rows."""

    total: int
    examined: int
    """How many training rows were looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What a run tells of its model."""

    labels: tuple[str, ...]
    tuned: Scored
    baseline: Scored
    neighbours: Scored
    neighbour_count: int
    over_baseline: Difference
    over_neighbours: Difference
    geometry: Geometry
    baseline_geometry: Geometry
    retention: float
    curve: LearningCurve
    worst: tuple[WorstError, ...]
    suspicions: Suspicions
    projection: Projection
    cuts: tuple[Cut, ...]


def assess(
    model: Predictor,
    baseline: Untrained,
    *,
    labels: Sequence[str],
    train: Sample,
    held_out: Sample,
    positive_label: str | None,
    cuts: Sequence[int] = (),
) -> Assessment:
    """Measure a model.

    Args:
        model: Fine-tuned.
        baseline: Its base, with the best head on frozen embeddings.
        labels: K names.
        train: What both learnt from; `baseline.known` are rows of it.
        held_out: What neither did; at least one row.
        positive_label: With two labels: whose figures are the headline.
        cuts: Lengths for which the model was trained as well.
    """
    single = not is_multi(held_out.targets)
    headline = list(labels).index(positive_label) if positive_label else None

    def scored(probabilities: FloatArray, thresholds: FloatArray) -> Scored:
        return score(
            probabilities,
            held_out.targets,
            labels=labels,
            thresholds=thresholds,
            positive_label=positive_label,
            seed=_SEED,
        )

    after, before = model.embed(held_out.texts), baseline.embed(held_out.texts)
    tuned = scored(model.classify(after), model.thresholds)
    regression = scored(baseline.classify(before), baseline.thresholds)

    held = indicators(held_out.targets, len(labels))
    # All rows vote: nothing is fitted, and a draw would leave out the nearest.
    voted = neighbours.vote(
        baseline.known_embeddings,
        indicators(train.targets[baseline.known], len(labels)),
        before,
        single=single,
        seed=_SEED,
    )
    examined = _examined(len(baseline.known), len(labels), before.shape[1])
    rows, frozen = baseline.known[examined], baseline.known_embeddings[examined]
    known = indicators(train.targets[rows], len(labels))
    nearest = scored(voted.probabilities, np.full(len(labels), _MAJORITY))
    return Assessment(
        labels=tuple(labels),
        tuned=tuned,
        baseline=regression,
        neighbours=nearest,
        neighbour_count=voted.count,
        over_baseline=difference(regression.decisions, tuned.decisions, label=headline, seed=_SEED),
        over_neighbours=difference(nearest.decisions, tuned.decisions, label=headline, seed=_SEED),
        geometry=describe(after, held, single=single, seed=_SEED),
        baseline_geometry=describe(before, held, single=single, seed=_SEED),
        retention=retention(baseline.embed(neutral.SENTENCES), model.embed(neutral.SENTENCES)),
        curve=learning_curve.measure(frozen, known, before, held, single=single, seed=_SEED),
        worst=worst_errors(tuned),
        suspicions=_suspicions(frozen, known, rows, single=single),
        projection=project(before, after, seed=_SEED),
        cuts=measure_cuts(
            after,
            held,
            model.classify,
            lengths=cuts,
            thresholds=model.thresholds,
            seed=_SEED,
        ),
    )


def _examined(known: int, labels: int, dimensions: int) -> IntArray:
    """Return which of the known rows the fits below can have."""
    return np.sort(draw(known, heads.affordable(known, labels, dimensions), _SEED))


def _suspicions(
    frozen: FloatArray, truth: BoolArray, rows: IntArray, *, single: bool
) -> Suspicions:
    said = heads.cross_validated(frozen, truth, single=single, seed=_SEED)
    found = label_errors.find(said, truth, single=single)
    return Suspicions(
        errors=tuple(
            LabelError(
                row=int(rows[error.row]),
                given=error.given,
                suggested=error.suggested,
                confidence=error.confidence,
            )
            for error in found[:_MOST_LABEL_ERRORS]
        ),
        total=len(found),
        examined=len(rows),
    )
