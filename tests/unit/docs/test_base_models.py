"""docs/base-models.md says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.trainer.base_import import ARCHITECTURES, TOKEN_LIMIT
from services.trainer.exporting import exactness, quantized
from services.trainer.prepare_base.recipes import RECIPES

_TEXT = (Path(__file__).parents[3] / "docs" / "base-models.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_every_family_is_named(family: str) -> None:
    names = {"xlm-roberta": "XLM-R"}
    assert names.get(family, family).lower() in _TEXT.partition("## Where")[0].lower()


@pytest.mark.parametrize("base", RECIPES)
def test_every_base_that_can_be_prepared_is_named(base: str) -> None:
    assert f"`prepared:{base}`" in _TEXT


def test_the_gates_are_those_of_the_code() -> None:
    words = " ".join(_TEXT.split())
    for figure in (
        f"cosine at least {exactness.MIN_COSINE}",
        f"probabilities within {exactness.MAX_PROBABILITY_DIFFERENCE:g}",
        f"smallest cosine with fp32 is at least {quantized.LEAST_COSINE}",
        f"at most {TOKEN_LIMIT} tokens",
    ):
        assert figure in words
    assert quantized.MOST_ACCURACY_LOST == 0.005
    assert "at most half a point, or one text" in words
