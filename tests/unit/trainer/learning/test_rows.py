from __future__ import annotations

import numpy as np
import pytest

from services.trainer.base_import import BaseEncoder
from services.trainer.learning.rows import TrainingRows
from services.trainer.learning.targets import counts, from_sets
from services.trainer.recipe import Hyperparameters, Preset, Shape, plan
from services.trainer.tokenize import TokenIds


@pytest.mark.parametrize("several", [False, True])
def test_rows_of_a_label_that_none_is_left_of_choose_nothing(
    base: BaseEncoder, *, several: bool
) -> None:
    label_ids = np.repeat([0, 1, 2, 3], [20, 20, 1, 1])
    sets = [(label,) if label < 2 else (0, label) for label in label_ids.tolist()]
    targets = from_sets(sets, 4) if several else label_ids
    rows = TrainingRows(
        base=base,
        plan=plan(
            Hyperparameters(preset=Preset.THOROUGH),
            Shape(rows=42, labels=4, layers=base.layers, max_tokens=base.max_tokens),
        ),
        tokens=TokenIds(ids=np.empty(0, np.int32), offsets=np.zeros(43, np.int64)),
        targets=targets,
        groups=np.full(42, -1),
        device="cpu",
        check=lambda: None,
    )

    parts = rows.folds()

    assert len(parts) == 3
    for part in parts:
        assert counts(targets[part.held], 4).tolist() == [4, 4, 0, 0]
