"""`docs/engines.md` says what the code does."""

from __future__ import annotations

from pathlib import Path

from services.inference.calibrate import candidates, record
from services.inference.engines import buckets, child, processes, restarts
from services.inference.settings import InferenceSettings

WORDS = " ".join(
    (Path(__file__).parents[3] / "docs" / "engines.md").read_text(encoding="utf-8").split()
)


def test_its_settings_are_settings() -> None:
    for name in ("engines", "workers", "threads_per_run", "device"):
        assert name in InferenceSettings.model_fields
        assert f"ISOGLOSS_INFERENCE_{name.upper()}" in WORDS


def test_its_figures_are_those_of_the_code() -> None:
    assert f"within {candidates._WORTH_IT * 100:.0f} % of the fastest" in WORDS
    assert f"`{record._NAME}`" in WORDS
    largest = max(buckets.BUCKETS)
    assert f"for {len(buckets.BUCKETS)} shapes" in WORDS
    assert f"up to {largest.texts} texts of {largest.tokens} tokens" in WORDS
    assert processes._PATIENCE_SECONDS == 10
    assert restarts._SETTLED_SECONDS == restarts._LONGEST_PAUSE == 30
    assert (restarts._AT_ONCE, restarts._LONGEST_AFTER_ANSWERS) == (3, 4)
    assert child._RUN_SECONDS == 60
    assert f"1.3 to {processes._PREPARED_GROWTH} times" in WORDS
