from __future__ import annotations

import numpy as np

from bench.vectors import measure


def test_each_type_is_judged_by_what_it_finds_again() -> None:
    found = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
    # One number is much larger than the others, and says nothing: a range of its own distorts.
    found[:, 0] += 20.0
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)

    kept = {row.name: row for row in measure(unit[:50], unit[50:])}

    assert kept["FLOAT32"].recall == 1.0
    assert kept["INT8"].recall == kept["UINT8"].recall
    assert kept["BINARY"].recall == kept["UBINARY"].recall
    assert kept["UBINARY"].recall < kept["FLOAT16"].recall
    assert [kept[name].bytes for name in ("FLOAT16", "INT8", "UBINARY")] == [128, 64, 8]
    bent = kept["INT8, a range for each number"].recall
    assert bent < kept["INT8, a range for each number, turned back"].recall
