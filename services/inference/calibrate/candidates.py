"""Which layouts are tried, and which of them is taken. Measures nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.inference.engines.layout import Layout

_WORTH_IT = 0.05
# What more processes or threads must bring: they take memory and, while others compute, each
# other's time. Runs of some seconds differ by as much.


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a layout did."""

    layout: Layout
    short: float
    """Texts of 5 to 30 tokens a second, saturated."""

    mixed: float
    """Texts of 5 to 400 tokens a second, saturated."""

    alone: float
    """Milliseconds of one text of 16 tokens while nothing else runs."""

    @property
    def score(self) -> float:
        """What counts: both kinds of texts alike."""
        return math.sqrt(self.short * self.mixed)


def candidates(cpus: int) -> list[Layout]:
    """Return the layouts for so many processors, those that take least first.

    Args:
        cpus: At least 1.
    """
    layouts = []
    for threads in _powers_of_two(cpus):
        workers = cpus // threads
        # In this process, four workers in each, and one in each.
        layouts += [
            Layout(engines=engines, workers=workers, threads=threads)
            for engines in sorted({0, math.ceil(workers / 4), workers})
        ]
    return sorted(layouts, key=_cost)


def best(measured: Sequence[Measured]) -> Measured:
    """Return the one to take: of those about as good as the fastest, the one that takes least.

    Args:
        measured: At least one.
    """
    enough = max(one.score for one in measured) * (1 - _WORTH_IT)
    return min((one for one in measured if one.score >= enough), key=lambda one: _cost(one.layout))


def _cost(layout: Layout) -> tuple[int, int]:
    return layout.engines, layout.threads


def _powers_of_two(limit: int) -> list[int]:
    return [1 << exponent for exponent in range(limit.bit_length())]
