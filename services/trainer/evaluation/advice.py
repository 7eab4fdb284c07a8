"""What could be done about a model, in sentences: an assessment read by somebody who knows.

Each rule says nothing where the figures do not carry it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from services.trainer.evaluation.assessment import Assessment
from services.trainer.evaluation.scores import ConfusionCell

_CLEAR = 0.05
# A p-value above it is within chance.

_USEFUL_DOUBLING = 0.005
_NOISE_FACTOR = 2.0
# Half a point of accuracy, and twice what two draws of the same size differ by.

_FEEDABLE_F1 = 0.95
_USEFUL_LABEL_DOUBLING = 0.03
_MOST_LABELS = 5

_CONFUSED_SHARE = 0.1
_FEWEST_CONFUSED = 3
_MOST_CONFUSIONS = 3

_FEW_SCORED = 20
# Of 20 rows one is 5 points.

_NAMED = 40
"""Characters of a label that a sentence shows."""


class Topic(StrEnum):
    """What a piece of advice is about; the members of `isogloss.v1.Advice.Topic`."""

    GAIN = "GAIN"
    MORE_ROWS = "MORE_ROWS"
    LABELS_TO_FEED = "LABELS_TO_FEED"
    CONFUSED_LABELS = "CONFUSED_LABELS"
    LABEL_ERRORS = "LABEL_ERRORS"
    CONFIDENCE = "CONFIDENCE"
    FEW_SCORED_ROWS = "FEW_SCORED_ROWS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing that could be done."""

    topic: Topic
    message: str
    labels: tuple[str, ...] = ()


def advise(assessment: Assessment) -> tuple[Advice, ...]:
    """Return what could be done, in order of worth."""
    rules = (_gain, _label_errors, _labels_to_feed, _more_rows, _confused, _confidence, _few_scored)
    return tuple(advice for rule in rules for advice in rule(assessment))


def _gain(found: Assessment) -> Iterator[Advice]:
    gain = found.over_baseline
    points = 100 * gain.accuracy.value
    if gain.accuracy_p_value > _CLEAR:
        message = (
            f"The gain of {points:+.1f} points over the untrained baseline is within chance on "
            f"{found.tuned.evaluation.examples} rows (p = {gain.accuracy_p_value:.2f})."
        )
    elif points < 0:
        message = (
            f"Training made the model worse than the untrained baseline by {-points:.1f} points: "
            "look at the labels, and at hyperparameters that were set by hand."
        )
    else:
        return
    yield Advice(topic=Topic.GAIN, message=message)


def _more_rows(found: Assessment) -> Iterator[Advice]:
    half, whole = found.curve.points[1], found.curve.points[-1]
    gain = found.curve.doubling
    learnt = (
        f"From {half.rows} to {whole.rows} training rows a simple classifier went from "
        f"{100 * half.accuracy:.1f} to {100 * whole.accuracy:.1f} % accuracy"
    )
    if gain >= max(_USEFUL_DOUBLING, _NOISE_FACTOR * found.curve.doubling_noise):
        message = f"{learnt}: more rows would still help."
    else:
        message = f"{learnt}: more rows of the same kind would help little."
    yield Advice(topic=Topic.MORE_ROWS, message=message)


def _labels_to_feed(found: Assessment) -> Iterator[Advice]:
    gains = np.array(found.curve.label_doubling)
    scores = found.tuned.evaluation.labels
    support = np.array([label.support for label in scores])
    f1 = np.array([label.f1 for label in scores])
    useful = (gains >= _USEFUL_LABEL_DOUBLING) & (f1 < _FEEDABLE_F1) & (support >= _FEW_SCORED)
    chosen = np.flatnonzero(useful)
    chosen = chosen[np.argsort(-gains[chosen] * support[chosen], kind="stable")][:_MOST_LABELS]
    if len(chosen) == 0:
        return
    labels = tuple(found.labels[label] for label in chosen)
    grown = ", ".join(f"{100 * gains[label]:.0f}" for label in chosen)
    yield Advice(
        topic=Topic.LABELS_TO_FEED,
        message=f"More examples of {_listed(labels)} would help most: a doubling of the rows "
        f"raised the F1 of a simple classifier there by {grown} points.",
        labels=labels,
    )


def _confused(found: Assessment) -> Iterator[Advice]:
    support = {label.label: label.support for label in found.tuned.evaluation.labels}

    def share(cell: ConfusionCell) -> float:
        return cell.count / support[cell.actual]

    wrong = [
        cell
        for cell in found.tuned.evaluation.confusion
        if cell.actual != cell.predicted
        and cell.count >= _FEWEST_CONFUSED
        and share(cell) >= _CONFUSED_SHARE
    ]
    for cell in sorted(wrong, key=lambda cell: -cell.count)[:_MOST_CONFUSIONS]:
        yield Advice(
            topic=Topic.CONFUSED_LABELS,
            message=f"{_quoted(cell.actual)} was taken for {_quoted(cell.predicted)} in "
            f"{cell.count} of {support[cell.actual]} rows: draw the line between them more "
            "clearly, or make them one label.",
            labels=(cell.actual, cell.predicted),
        )


def _label_errors(found: Assessment) -> Iterator[Advice]:
    suspicions = found.suspicions
    if suspicions.total == 0:
        return
    seem = "seems" if suspicions.total == 1 else "seem"
    yield Advice(
        topic=Topic.LABEL_ERRORS,
        message=f"{suspicions.total} of {suspicions.examined} training rows {seem} to have a "
        "wrong label: look at the most suspicious first.",
    )


def _confidence(found: Assessment) -> Iterator[Advice]:
    measured = found.tuned.calibration
    if measured.error <= measured.noise_limit:
        return
    sure = sum(part.count * (part.confidence - part.accuracy) for part in measured.bins)
    # With several labels a text there is no such table.
    remedy = " Choose thresholds by the coverage table, not by what they seem to say."
    yield Advice(
        topic=Topic.CONFIDENCE,
        message=f"Confidences are too {'high' if sure > 0 else 'low'}, by "
        f"{100 * measured.error:.1f} points on average; {100 * measured.noise_limit:.1f} would be "
        f"within chance.{remedy if found.tuned.coverage else ''}",
    )


def _few_scored(found: Assessment) -> Iterator[Advice]:
    few = [label for label in found.tuned.evaluation.labels if label.support < _FEW_SCORED]
    if not few:
        return
    labels = tuple(label.label for label in sorted(few, key=lambda label: label.support))
    shown = labels[:_MOST_LABELS]
    more = f" and {len(labels) - len(shown)} more" if len(labels) > len(shown) else ""
    yield Advice(
        topic=Topic.FEW_SCORED_ROWS,
        message=f"Fewer than {_FEW_SCORED} rows were scored of {_listed(shown)}{more}: single "
        "figures of these labels are rough.",
        labels=shown,
    )


def _listed(labels: tuple[str, ...]) -> str:
    quoted = [_quoted(label) for label in labels]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _quoted(label: str) -> str:
    return f"`{label if len(label) <= _NAMED else label[: _NAMED - 1] + '…'}`"
