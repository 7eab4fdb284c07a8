from __future__ import annotations

import pytest

from services.inference.engines.cuda import provider_options


@pytest.mark.parametrize(("keeps_runs", "expected"), [(True, "1"), (False, "0")])
def test_runs_are_kept_where_that_is_asked_for(keeps_runs: bool, expected: str) -> None:  # noqa: FBT001 (a parameter of the test)
    assert provider_options(keeps_runs=keeps_runs)["enable_cuda_graph"] == expected


def test_vectors_are_not_rounded_and_memory_is_not_hoarded() -> None:
    options = provider_options(keeps_runs=True)

    assert options["use_tf32"] == "0"
    assert options["arena_extend_strategy"] == "kSameAsRequested"
