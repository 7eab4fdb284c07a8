"""The logistic regression on frozen embeddings that a training has to beat.

Knows embeddings, not the encoder that made them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from services.trainer.head import NEVER, Floats, Head, Ints, probabilities
from services.trainer.learning.calibration import DEFAULT_THRESHOLD, fit_thresholds, log_loss
from services.trainer.learning.selection import folds
from services.trainer.learning.targets import Indicators, Targets, is_multi

INVERSE_REGULARISATION = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""The values of C that cross-validation chooses from: half a decade apart."""

_FOLDS = 5
_ITERATIONS = 2000

_TUNING_ROWS = 4000
# C is chosen on at most 4,000 rows: 45 fits then stay within half a minute on a core.


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """The head and from which probability on it gives a label."""

    head: Head
    thresholds: Floats
    """[K] where each label is judged by itself, else empty."""


def tuned_regression(embeddings: Floats, targets: Targets, labels: int, *, seed: int) -> Regression:
    """Fit a logistic regression whose C is chosen by cross-validation on the same rows.

    Args:
        embeddings: [N, D]
        targets: Of the same rows, with at least two different labels.
        labels: K; a label without rows gets a bias that keeps it from winning.
        seed: Of the folds.
    """
    # The problems are small: threads would spend their time waiting for each other.
    with threadpool_limits(limits=1):
        if is_multi(targets):
            return _apart(embeddings, targets, seed)
        return Regression(
            head=_together(embeddings, targets, labels, seed),
            thresholds=np.empty(0, dtype=np.float32),
        )


def _sample(embeddings: Floats, targets: Targets, seed: int) -> tuple[Floats, Targets]:
    if len(targets) <= _TUNING_ROWS:
        return embeddings, targets
    rows = np.random.default_rng(seed).permutation(len(targets))[:_TUNING_ROWS]
    return embeddings[rows], targets[rows]


def _together(embeddings: Floats, label_ids: Ints, labels: int, seed: int) -> Head:
    """Fit one model in which labels compete."""
    strength = _choose(*_sample(embeddings, label_ids, seed), seed)
    fitted = LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(embeddings, label_ids)
    weight = np.zeros((labels, embeddings.shape[1]), dtype=np.float32)
    bias = np.full(labels, -NEVER, dtype=np.float32)
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(coefficients) == 1:
        # Two classes have one row of coefficients: half of it for each side.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weight[fitted.classes_] = coefficients
    bias[fitted.classes_] = intercepts
    return Head(weight=weight, bias=bias)


def _choose(embeddings: Floats, label_ids: Ints, seed: int) -> float:
    """Return the C with the best accuracy over the folds, the smallest of equals."""
    # A label with one row is either learnt or asked for, never both.
    counts = np.bincount(label_ids)
    several = counts[label_ids] > 1
    embeddings, label_ids = embeddings[several], label_ids[several]
    if len(np.unique(label_ids)) < 2:  # noqa: PLR2004 (nothing to tell apart)
        return 1.0
    right = np.zeros(len(INVERSE_REGULARISATION))
    split = StratifiedKFold(min(_FOLDS, int(counts.max())), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Some labels may have fewer rows than there are folds: they are in some of them.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parts = list(split.split(embeddings, label_ids))
    for fit, test in parts:
        model = LogisticRegression(warm_start=True, max_iter=_ITERATIONS)
        for index, strength in enumerate(INVERSE_REGULARISATION):
            # From weak to strong, each from the solution before: a tenth of the time.
            model.set_params(C=strength).fit(embeddings[fit], label_ids[fit])
            right[index] += (model.predict(embeddings[test]) == label_ids[test]).sum()
    return INVERSE_REGULARISATION[int(right.argmax())]


def _apart(embeddings: Floats, targets: Indicators, seed: int) -> Regression:
    """Fit one model a label, all with one C: the one with the least log loss over the folds."""
    tuned, answers = _sample(embeddings, targets, seed)
    alone = np.full(len(answers), -1)
    unseen = np.zeros((len(INVERSE_REGULARISATION), *answers.shape), dtype=np.float32)
    for held in folds(answers, alone, min(_FOLDS, len(answers)), seed=seed):
        rest = np.setdiff1d(np.arange(len(answers)), held)
        path = _path(tuned[rest], answers[rest], INVERSE_REGULARISATION)
        for logits, head in zip(unseen, path, strict=True):
            logits[held] = head.logits(tuned[held])
    best = int(np.argmin([log_loss(logits, answers) for logits in unseen]))
    *_, head = _path(embeddings, targets, INVERSE_REGULARISATION[best : best + 1])
    thresholds = fit_thresholds(probabilities(unseen[best], multi_label=True), answers)
    thresholds[~targets.any(axis=0)] = DEFAULT_THRESHOLD
    return Regression(head=head, thresholds=thresholds)


def _path(embeddings: Floats, targets: Indicators, strengths: tuple[float, ...]) -> Iterator[Head]:
    """Yield the fit for each C, from weak to strong, each from the solution before.

    All labels are one smooth problem, as none of them knows of the others: one call of L-BFGS for
    hundreds of labels instead of one for each.
    """
    signs = np.where(targets, 1.0, -1.0)  # [N, K]
    rows = np.hstack([embeddings, np.ones((len(embeddings), 1))])  # the bias is the last column
    shape = (targets.shape[1], rows.shape[1])
    solution = np.zeros(shape)

    def objective(flat: Floats, strength: float) -> tuple[float, Floats]:
        weight = flat.reshape(shape)
        margins = signs * (rows @ weight.T)
        loss = strength * np.logaddexp(0, -margins).sum() + (weight[:, :-1] ** 2).sum() / 2
        slopes = -strength * signs * (0.5 * (1 - np.tanh(0.5 * margins)))
        gradient = slopes.T @ rows
        gradient[:, :-1] += weight[:, :-1]
        return loss, gradient.ravel()

    # A label that no row or every row has would take its bias to infinity.
    settled = targets.all(axis=0) | ~targets.any(axis=0)
    for strength in strengths:
        found = minimize(
            objective,
            solution.ravel(),
            args=(strength,),
            method="L-BFGS-B",
            jac=True,
            options={"maxiter": _ITERATIONS},
        )
        solution = found.x.reshape(shape)
        weight, bias = solution[:, :-1].astype(np.float32), solution[:, -1].astype(np.float32)
        weight[settled] = 0
        bias[settled] = np.where(targets.all(axis=0), NEVER, -NEVER)[settled]
        yield Head(weight=weight, bias=bias, multi_label=True)
