"""What callers may filter by."""

from __future__ import annotations

import pytest

from services.common.errors import InvalidArgument
from services.ingest.convert.requests import codes_from_proto, query_from_proto
from services.ingest.finding import Code


def test_every_code_may_be_asked_for() -> None:
    assert codes_from_proto(Code) == tuple(Code)


def test_a_code_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidArgument) as raised:
        codes_from_proto(["duplicate", "duplicat", "'; DROP TABLE findings"])

    first, second = raised.value.violations
    assert first.field == "codes[1]"
    assert "perhaps `duplicate` is meant" in first.description
    assert second.field == "codes[2]"


def test_many_wrong_codes_make_no_long_answer() -> None:
    with pytest.raises(InvalidArgument) as raised:
        codes_from_proto(["x" * 100_000] * 1_000)

    assert len(raised.value.violations) <= 20
    assert sum(len(found.description) for found in raised.value.violations) < 4_000


def test_a_code_counts_once_however_often_it_is_named() -> None:
    assert codes_from_proto(["duplicate"] * 100_000) == ("duplicate",)


@pytest.mark.parametrize("query", ["", "tone", "Ünï'; --", "%_" * 50])
def test_what_a_name_can_hold_is_looked_for(query: str) -> None:
    assert query_from_proto(query) == query


@pytest.mark.parametrize("query", ["x" * 101, "to\0ne"])
def test_what_no_name_can_hold_is_refused(query: str) -> None:
    with pytest.raises(InvalidArgument, match="query"):
        query_from_proto(query)
