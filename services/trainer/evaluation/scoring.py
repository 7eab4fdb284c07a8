"""What one model's answers on labelled rows are worth, whatever made the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.trainer.evaluation.arrays import FloatArray
from services.trainer.evaluation.decisions import Decisions
from services.trainer.evaluation.reliability import Calibration, Coverage, abstention, calibration
from services.trainer.evaluation.scores import Evaluation, evaluate, evaluate_sets
from services.trainer.evaluation.significance import Spread, spreads
from services.trainer.learning.targets import Targets, is_multi

_WORST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One model on N rows."""

    evaluation: Evaluation
    decisions: Decisions
    confidences: FloatArray
    """[N]: how probable what was given is; with several labels a text, the least sure decision."""

    spread: Spread
    calibration: Calibration
    coverage: tuple[Coverage, ...]
    """Empty with several labels a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstError:
    """A row that was classified wrong with great confidence."""

    row: int
    labels: tuple[int, ...]
    given: tuple[int, ...]
    confidence: float


def score(
    probabilities: FloatArray,
    targets: Targets,
    *,
    labels: Sequence[str],
    thresholds: FloatArray,
    positive_label: str | None,
    seed: int,
) -> Scored:
    """Score answers.

    Args:
        probabilities: [N, K]
        targets: int [N], the label of each row; or bool [N, K], whether it has the label.
        labels: K names.
        thresholds: [K], from which probability on a label is given; unused with one label a row.
        positive_label: With two labels: whose figures are the headline.
        seed: Of everything that is drawn.
    """
    if not is_multi(targets):
        evaluation = evaluate(
            probabilities=probabilities,
            label_ids=targets,
            labels=labels,
            positive_label=positive_label,
        )
        given = probabilities.argmax(axis=1)
        decisions = Decisions.single(targets, given, len(labels))
        confidences = probabilities[np.arange(len(given)), given]
        measured = calibration(confidences, decisions.right, seed=seed)
        coverage = abstention(confidences, decisions.right)
    else:
        evaluation = evaluate_sets(
            probabilities=probabilities, truth=targets, thresholds=thresholds, labels=labels
        )
        chosen = probabilities >= thresholds
        decisions = Decisions.multiple(targets, chosen)
        confidences = np.where(chosen, probabilities, 1 - probabilities).min(axis=1)
        measured = calibration(probabilities.ravel(), targets.ravel(), seed=seed)
        coverage = ()
    headline = list(labels).index(positive_label) if positive_label else None
    (spread,) = spreads([decisions], label=headline, seed=seed)
    return Scored(
        evaluation=evaluation,
        decisions=decisions,
        confidences=confidences,
        spread=spread,
        calibration=measured,
        coverage=coverage,
    )


def worst_errors(scored: Scored) -> tuple[WorstError, ...]:
    """Return at most 50 wrong rows, the surest first."""
    wrong = np.flatnonzero(~scored.decisions.right)
    order = wrong[np.argsort(-scored.confidences[wrong], kind="stable")][:_WORST]
    return tuple(
        WorstError(
            row=int(row),
            labels=ids(scored.decisions, row).labels,
            given=ids(scored.decisions, row).given,
            confidence=float(scored.confidences[row]),
        )
        for row in order
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLabels:
    """The labels of one row, ascending ids."""

    labels: tuple[int, ...]
    given: tuple[int, ...]


def ids(decisions: Decisions, row: int) -> RowLabels:
    """Return what one row has and was given."""
    return RowLabels(
        labels=tuple(sorted(int(label) for label in decisions.truth[[row]].nonzero()[1])),
        given=tuple(sorted(int(label) for label in decisions.given[[row]].nonzero()[1])),
    )
