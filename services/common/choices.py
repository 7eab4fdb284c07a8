"""Filters of list methods: numbers of an enumeration, each of which must be known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from services.common.errors import FieldViolation

Choice = TypeVar("Choice", bound=StrEnum)


def read(
    numbers: Iterable[int],
    known: Mapping[int, Choice],
    *,
    field: str,
    words: Iterable[str],
    violations: list[FieldViolation],
) -> tuple[Choice, ...]:
    """Return what the numbers stand for, each once and in order, or note which stand for nothing.

    Args:
        numbers: As the caller sent them.
        known: What each number stands for.
        field: Path of the repeated field.
        words: How the contract calls the known ones.
        violations: Receives one for each unknown number.
    """
    found = set()
    for position, number in enumerate(numbers):
        if number in known:
            found.add(known[number])
        else:
            description = f"{number} is none of {', '.join(words)}."
            violations.append(FieldViolation(field=f"{field}[{position}]", description=description))
    return tuple(sorted(found))
