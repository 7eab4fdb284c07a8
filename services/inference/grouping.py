"""Which texts of one request run through the graph together. Knows lengths only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimits:
    """How large a group may be on one kind of device."""

    texts: int
    """Texts in a group, at least 1."""

    padded_tokens: int
    """Texts times the longest of them; a longer text runs alone."""

    padding: float
    """Share of a group's tokens that may be padding, 0 to 1."""


def group_by_length(lengths: Sequence[int], limits: GroupLimits) -> list[list[int]]:
    """Return the positions of `lengths` in groups, every position once, longest group first.

    Args:
        lengths: Tokens of each text, each at least 1.
        limits: How large a group may be.
    """
    groups: list[list[int]] = []
    longest = tokens = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[position]
        if groups and _fits(len(groups[-1]) + 1, longest, tokens + length, limits):
            groups[-1].append(position)
            tokens += length
        else:
            groups.append([position])
            longest = tokens = length
    return groups


def _fits(texts: int, longest: int, tokens: int, limits: GroupLimits) -> bool:
    padded = texts * longest
    return (
        texts <= limits.texts
        and padded <= limits.padded_tokens
        and padded - tokens <= limits.padding * padded
    )
