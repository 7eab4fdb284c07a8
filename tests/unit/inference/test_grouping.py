from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.grouping import GroupLimits, group_by_length

CPU_GROUPS = GroupLimits(texts=8, padded_tokens=512, padding=0.125)

lengths_lists = st.lists(st.integers(min_value=1, max_value=600), min_size=1, max_size=200)
limits_values = st.builds(
    GroupLimits,
    texts=st.integers(min_value=1, max_value=64),
    padded_tokens=st.integers(min_value=1, max_value=4096),
    padding=st.floats(min_value=0, max_value=1),
)


@given(lengths_lists, limits_values)
@settings(deadline=None)  # no timing decides a test
def test_every_text_is_in_one_group_and_no_group_is_too_large(
    lengths: list[int], limits: GroupLimits
) -> None:
    groups = group_by_length(lengths, limits)

    assert sorted(position for group in groups for position in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[position] for position in group)
        padded = longest * len(group)
        padding = padded - sum(lengths[position] for position in group)
        assert len(group) == 1 or (
            len(group) <= limits.texts
            and padded <= limits.padded_tokens
            and padding <= limits.padding * padded
        )


def test_equal_lengths_fill_groups() -> None:
    assert [len(group) for group in group_by_length([16] * 20, CPU_GROUPS)] == [8, 8, 4]


def test_long_and_short_texts_stay_apart() -> None:
    assert group_by_length([400, 5, 5, 390], CPU_GROUPS) == [[0], [3], [1, 2]]
