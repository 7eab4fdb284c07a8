from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.api.filling import finalize_timeout
from isogloss.api.sources import Source
from isogloss.dataset_report import Split


def test_finalizing_may_take_longer_the_more_there_is_to_read_back() -> None:
    train = Source(split=Split.TRAIN, path=Path("train.csv"), size=2_000_000_000, sha256="")
    test = Source(split=Split.TEST, path=Path("test.csv"), size=50_000_000, sha256="")

    assert finalize_timeout(30.0, [train, test]) == pytest.approx(30.0 + 200.0 + 5.0)
