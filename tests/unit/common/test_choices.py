"""Filters by numbers of an enumeration."""

from __future__ import annotations

from enum import StrEnum

from services.common import choices
from services.common.errors import FieldViolation


class Colour(StrEnum):
    RED = "RED"
    BLUE = "BLUE"


KNOWN = {1: Colour.RED, 2: Colour.BLUE}
WORDS = ["COLOUR_RED", "COLOUR_BLUE"]


def test_each_choice_comes_once_and_in_order() -> None:
    violations: list[FieldViolation] = []
    found = choices.read([1, 2, 1], KNOWN, field="colours", words=WORDS, violations=violations)
    assert found == (Colour.BLUE, Colour.RED)
    assert not violations


def test_every_unknown_number_is_named_with_its_place() -> None:
    violations: list[FieldViolation] = []
    found = choices.read([0, 1, 7], KNOWN, field="colours", words=WORDS, violations=violations)
    assert found == (Colour.RED,)
    assert [(each.field, each.description) for each in violations] == [
        ("colours[0]", "0 is none of COLOUR_RED, COLOUR_BLUE."),
        ("colours[2]", "7 is none of COLOUR_RED, COLOUR_BLUE."),
    ]
