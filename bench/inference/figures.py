"""A figure beside its target. Knows nothing of what was measured."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum


class Bound(StrEnum):
    """Which side of a target is the good one."""

    AT_MOST = "<="
    AT_LEAST = ">="


_HOLDS: Mapping[Bound, Callable[[float, float], bool]] = {
    Bound.AT_MOST: operator.le,
    Bound.AT_LEAST: operator.ge,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing that was measured."""

    name: str
    """What it is and against what."""

    measured: float
    bound: Bound
    target: float
    beside: Mapping[str, float | str] = field(default_factory=dict)
    """What it was computed from, and what else says how far to trust it."""

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return _HOLDS[self.bound](self.measured, self.target)

    @property
    def plain(self) -> dict[str, object]:
        """The figure as JSON takes it."""
        return {**asdict(self), "met": self.met}

    def lines(self) -> list[str]:
        """The figure for people: a line, and what it comes from below it."""
        verdict = "met" if self.met else "MISSED"
        target = f"{self.bound} {self.target:g}"
        parts = ", ".join(f"{name} {_short(value)}" for name, value in self.beside.items())
        head = f"{self.name:66} {self.measured:9.4g}  {target:10} {verdict}"
        return [head, *([f"    {parts}"] if parts else [])]


def at_most(name: str, measured: float, target: float, **beside: float | str) -> Figure:
    """Return a figure that should be small."""
    return Figure(name=name, measured=measured, bound=Bound.AT_MOST, target=target, beside=beside)


def at_least(name: str, measured: float, target: float, **beside: float | str) -> Figure:
    """Return a figure that should be large."""
    return Figure(name=name, measured=measured, bound=Bound.AT_LEAST, target=target, beside=beside)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
