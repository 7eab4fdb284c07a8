from __future__ import annotations

import numpy as np
import pytest

from bench.out_of_scope import Calibrated, Told, measure


def test_a_score_is_as_good_as_it_orders_texts() -> None:
    own = {"out_of_scope": np.array([0.1, 0.5, 0.96, 0.2]), "blind": np.full(4, 0.5)}
    other = {"out_of_scope": np.array([0.97, 1.0, 0.5]), "blind": np.full(3, 0.5)}

    told, blind, calibrated = measure(own, {"other": other})

    assert isinstance(told, Told)
    assert isinstance(blind, Told)
    # Of twelve pairs one is ordered wrong and one is equal.
    assert told.auroc == pytest.approx(10.5 / 12, abs=1e-4)
    assert told.own_suspected == 0.25
    assert (blind.auroc, blind.own_suspected) == (0.5, 1.0)
    assert calibrated == Calibrated(beside="other", above=0.95, own_share=0.25)
