"""What a batch costs, learnt from those that ran. Knows shapes and seconds only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

# Seconds of a run, of a padded token, and of a padded token for each token of the longest text,
# before anything was measured: a small encoder on one core. A run reads all weights once, a token
# multiplies them: their ratio is one of memory to arithmetic, and alike on most machines.
_PRIOR = (1e-3, 1.5e-4, 2e-7)

# How much the prior's proportions weigh beside one shape that was measured well: runs scatter by
# some hundredths, while a GPU's proportions are tens of times those of a CPU. So it decides only
# what nothing measured tells of.
_PRIOR_WEIGHT = 1e-3

# Weight of the latest run in its shape's mean once many have been seen, and how far from the
# mean it is believed: a run that lost its core to somebody else says little of the next.
_MEAN_WEIGHT = 0.1
_BELIEVED = 3.0

# Runs over which a shape that is seen no more loses half its weight.
_HALF_LIFE = 2_000.0

# A shape seen this often is as sure as it gets.
_SURE = 8

# Runs between two fits, once there have been that many.
_FIT_EVERY = 32

_SUPPORTS = [list(some) for count in (3, 2, 1) for some in combinations(range(3), count)]


@dataclass(slots=True)
class _Shape:
    """Runs of about one size: what they were on average."""

    texts: float
    longest: float
    seconds: float
    runs: int
    last: int
    """Number of the run that was the last of these."""


class CostModel:
    """Predicts the seconds of a batch as `a + b * padded + c * padded * longest`.

    Runs are averaged by shape, and the three numbers fitted through the shapes, each counting
    the same relative to its size, none negative. So a day of short texts does not forget what
    long ones cost, one stalled run moves little, and what was never seen is extrapolated.
    """

    def __init__(self) -> None:
        """Begin with the proportions of a small encoder."""
        self._prior: NDArray[np.float64] = np.array(_PRIOR)
        self._run, self._token, self._pair = _PRIOR
        self._shapes: dict[tuple[int, int], _Shape] = {}
        self._runs = 0

    @property
    def known(self) -> bool:
        """Whether anything was measured."""
        return self._runs > 0

    @property
    def per_run(self) -> float:
        """Seconds of a run whatever is in it: what a batch saves."""
        return self._run

    def text_seconds(self, length: float) -> float:
        """Return what one text adds to a batch of its own length, in seconds."""
        return length * (self._token + self._pair * length)

    def seconds(self, texts: int, longest: int) -> float:
        """Return the seconds of a batch of that many texts, padded to `longest` tokens."""
        return self._run + texts * self.text_seconds(longest)

    def learn(self, texts: int, longest: int, seconds: float) -> None:
        """Take note of a batch that ran.

        Args:
            texts: How many, at least 1.
            longest: Tokens that each was padded to, at least 1.
            seconds: How long it took.
        """
        seconds = max(seconds, 1e-6)
        if not self._runs:
            # The first run tells the size of model and machine; the proportions stay.
            self._prior = self._prior * (seconds / self.seconds(texts, longest))
        self._runs += 1
        key = (texts.bit_length(), round(4 * math.log2(longest)))
        shape = self._shapes.get(key)
        if shape is None:
            self._shapes[key] = _Shape(texts, longest, seconds, 1, self._runs)
        else:
            _average(shape, texts, longest, seconds, self._runs)
        if self._runs % _FIT_EVERY == 0 or self._runs in {1, 2, 4, 8, 16}:
            self._fit()

    def _fit(self) -> None:
        shapes = list(self._shapes.values())
        seconds = np.array([shape.seconds for shape in shapes])
        padded = np.array([shape.texts * shape.longest for shape in shapes])
        pairs = padded * [shape.longest for shape in shapes]
        # In units of the prior and of each shape's own seconds: the aim is 1 everywhere.
        features = np.stack([np.ones_like(seconds), padded, pairs]) * self._prior[:, None] / seconds
        weights = np.array(
            [
                min(shape.runs, _SURE) / _SURE * 0.5 ** ((self._runs - shape.last) / _HALF_LIFE)
                for shape in shapes
            ]
        )
        moments = (features * weights) @ features.T + _PRIOR_WEIGHT * np.eye(3)
        target = features @ weights + _PRIOR_WEIGHT
        self._run, self._token, self._pair = (
            float(value) for value in _non_negative(moments, target) * self._prior
        )


def _average(shape: _Shape, texts: int, longest: int, seconds: float, number: int) -> None:
    shape.runs += 1
    shape.last = number
    weight = max(1 / shape.runs, _MEAN_WEIGHT)
    believed = min(max(seconds, shape.seconds / _BELIEVED), shape.seconds * _BELIEVED)
    shape.texts += weight * (texts - shape.texts)
    shape.longest += weight * (longest - shape.longest)
    shape.seconds += weight * (believed - shape.seconds)


def _non_negative(moments: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least squares solution without negative numbers, of normal equations.

    With three unknowns every choice of those that are not zero can be tried.
    """
    best, gained = np.zeros(3), -1.0
    for support in _SUPPORTS:
        solution = np.zeros(3)
        # Not `solve`: what was measured may be so far apart that the prior is lost in rounding.
        solution[support] = np.linalg.lstsq(moments[np.ix_(support, support)], target[support])[0]
        gain = float(target @ solution)
        if (solution >= 0).all() and gain > gained:
            if len(support) == len(solution):
                return solution
            best, gained = solution, gain
    return best
