from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.inference.scheduling.lengths import bucket_of

lengths = st.integers(min_value=1, max_value=100_000)


@given(lengths, lengths)
def test_longer_texts_are_never_in_a_lower_bucket(one: int, other: int) -> None:
    assert (bucket_of(one) <= bucket_of(other)) or one > other


@given(lengths, lengths)
def test_texts_of_one_bucket_differ_by_less_than_an_eighth(one: int, other: int) -> None:
    if bucket_of(one) == bucket_of(other):
        assert abs(one - other) <= max(one, other) / 8
