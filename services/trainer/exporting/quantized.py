"""The search for an 8-bit form that is close enough and faster: what stays in fp32, and why.

The feed-forward down-projections stay first: their inputs have outliers that ruin a common
scale. Where that is not enough, each other product's damage is measured by quantising it alone,
and the worst stay too, more each time, until the gates pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from services.trainer.exporting import quantization
from services.trainer.exporting.decision import Decision, Truth
from services.trainer.exporting.exactness import MIN_COSINE, cosine
from services.trainer.exporting.quantization import Product, Ranges
from services.trainer.exporting.session import Sequences, Session, first_tokens
from services.trainer.head import Floats

LEAST_COSINE = 0.97
MOST_ACCURACY_LOST = 0.005

_CALIBRATION_TEXTS = 128
_CALIBRATION_SHARE = 4
# Ranges come from a quarter of the texts, at most 128; the others judge: on texts that the ranges
# were made for a form looks better than it is.

_DAMAGE_TOKENS = 400
_TIMED_TOKENS = 1_500
# all-MiniLM-L6-v2 takes 0.1 s for the first, once for each of 30 products, and 0.5 s for the
# second, twelve times.

_KEPT_SHARES = (0.125, 0.25, 0.5)
# Of the other products; with more than half of them in fp32 nothing is left to be won.

_SERVED_BATCHES = (1, 8)
# A text alone, and the largest group that inference computes together on a CPU.

_TIMINGS = 3
# The least of three: what disturbs a timing only ever adds to it.

Stopwatch = Callable[[Session, Sequences, int], float]
"""Tells how long a graph takes for texts in batches of a size."""


class NotWorthIt(Exception):
    """No 8-bit form passes; the message says what the last one lacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What an 8-bit form was found to be, against fp32 on the same texts."""

    min_cosine: float
    max_probability_difference: float
    accuracy_loss: float
    """Of accuracy, or of micro F1; negative where it does better by chance."""

    batch_cosine: float
    """The smallest cosine of a text alone with the same text beside seven others."""

    speedup: float
    kept: int
    """Products that stayed in fp32."""

    texts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Texts on which a form is made and judged."""

    sequences: Sequences
    """Token ids, N texts in no order."""

    truth: Truth
    """[N, K]"""

    pad_token_id: int


def search(
    plain: Path,
    exact: Path,
    path: Path,
    *,
    examples: Examples,
    decision: Decision,
    stopwatch: Stopwatch,
) -> Judgement:
    """Write the first 8-bit form that passes all gates.

    Args:
        plain: The graph in which every product is a node of its own.
        exact: The graph that is served in fp32, which has to be beaten.
        path: Where the form goes.
        examples: What it is made and judged on.
        decision: How logits become labels.
        stopwatch: `Session.seconds`; another clock in tests.

    Raises:
        NotWorthIt: Where none does.
    """
    measured, judged = _parted(examples)
    ranges = quantization.observe(plain, measured, scratch=path.parent)
    judge = _Judge(exact, judged, decision, stopwatch)
    products = quantization.products(plain)
    fault = "it has no product that could be quantised"
    for kept in _choices(plain, path, products, ranges, judge):
        weights = [product.weight for product in products if product.weight not in kept]
        quantization.quantise(plain, path, ranges=ranges, weights=weights)
        judgement = judge(path, kept=len(kept))
        fault = _fault(judgement, judge.least_loss)
        if not fault:
            return judgement
        if judgement.speedup <= 1.0:
            # More in fp32 would only be slower.
            break
    path.unlink(missing_ok=True)
    raise NotWorthIt(fault)


def _parted(examples: Examples) -> tuple[Sequences, Examples]:
    """Return the texts that ranges come from, and the others; a single text is both."""
    texts = len(examples.sequences)
    measured = max(1, min(_CALIBRATION_TEXTS, texts // _CALIBRATION_SHARE))
    others = slice(measured if measured < texts else 0, None)
    judged = replace(examples, sequences=examples.sequences[others], truth=examples.truth[others])
    return examples.sequences[:measured], judged


def _choices(
    plain: Path, path: Path, products: list[Product], ranges: Ranges, judge: _Judge
) -> Iterator[set[str]]:
    """Give the products that stay in fp32, more each time."""
    kept = {product.weight for product in products if product.rows > product.columns}
    rest = [product.weight for product in products if product.weight not in kept]
    if not rest:
        return
    yield kept
    damage = {}
    for weight in rest:
        quantization.quantise(plain, path, ranges=ranges, weights=[weight])
        damage[weight] = judge.damage(path)
    worst = sorted(rest, key=lambda weight: -damage[weight])
    for share in _KEPT_SHARES:
        yield kept | set(worst[: max(1, round(share * len(worst)))])


class _Judge:
    """Compares forms with the exact graph, whose answers are computed once."""

    def __init__(
        self, exact: Path, examples: Examples, decision: Decision, stopwatch: Stopwatch
    ) -> None:
        self._examples = examples
        self._decision = decision
        self._stopwatch = stopwatch
        self._exact = Session(exact, examples.pad_token_id)
        self._expected = self._exact.run(examples.sequences)
        # One text more or less is no evidence, however few there are.
        self.least_loss = max(MOST_ACCURACY_LOST, 1.0 / len(examples.sequences))

    def __call__(self, path: Path, *, kept: int) -> Judgement:
        session = Session(path, self._examples.pad_token_id)
        found = session.run(self._examples.sequences)
        beside = session.run(self._examples.sequences, batch=_SERVED_BATCHES[-1])
        right, tried = (
            self._decision.probabilities(answer[1]) for answer in (self._expected, found)
        )
        truth = self._examples.truth
        return Judgement(
            min_cosine=float(cosine(self._expected[0], found[0]).min()),
            max_probability_difference=float(np.abs(right - tried).max()),
            accuracy_loss=self._decision.score(right, truth) - self._decision.score(tried, truth),
            batch_cosine=float(cosine(found[0], beside[0]).min()),
            speedup=self._speedup(session),
            kept=kept,
            texts=len(self._examples.sequences),
        )

    def damage(self, path: Path) -> float:
        """Return how far a form moves a few texts, on average."""
        sequences = first_tokens(self._examples.sequences, _DAMAGE_TOKENS)
        found: Floats = Session(path, self._examples.pad_token_id).run(sequences)[0]
        return float(1.0 - cosine(self._expected[0][: len(found)], found).mean())

    def _speedup(self, session: Session) -> float:
        sequences = first_tokens(self._examples.sequences, _TIMED_TOKENS)
        ratios = []
        for batch in _SERVED_BATCHES:
            # In turns, so that both meet the same disturbances.
            exact, form = [], []
            for _ in range(_TIMINGS):
                exact.append(self._stopwatch(self._exact, sequences, batch))
                form.append(self._stopwatch(session, sequences, batch))
            ratios.append(min(exact) / min(form))
        return min(ratios)


def _fault(judgement: Judgement, most_lost: float) -> str:
    """Return what a form lacks, or nothing."""
    # Written so that a NaN, which compares false with everything, is a fault.
    if not judgement.min_cosine >= LEAST_COSINE:
        return f"its smallest cosine with fp32 is {judgement.min_cosine:.3f}, below {LEAST_COSINE}"
    if not judgement.accuracy_loss <= most_lost:
        return (
            f"it is right on {100 * judgement.accuracy_loss:.1f} % fewer of "
            f"{judgement.texts} texts, more than {100 * most_lost:.1f} %"
        )
    if not judgement.batch_cosine >= MIN_COSINE:
        return f"its answers depend on the texts beside (cosine {judgement.batch_cosine:.5f})"
    if not judgement.speedup > 1.0:
        return f"it is no faster than fp32 on this machine ({judgement.speedup:.2f} times)"
    return ""
