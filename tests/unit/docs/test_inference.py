"""`docs/inference.md` names what there is: rows of the benchmark, settings of the service."""

from __future__ import annotations

import re
from pathlib import Path

from bench.inference.__main__ import ROWS
from services.inference.settings import InferenceSettings

_PAGE = (Path(__file__).parents[3] / "docs" / "inference.md").read_text(encoding="utf-8")


def test_every_row_of_the_benchmark_is_told_of() -> None:
    table = _PAGE.split("| row | what it compares |")[1].split("\n\n")[0]

    named = [name for line in table.splitlines()[2:] for name in line.split("|")[1].split(",")]

    assert [name.strip(" `") for name in named] == list(ROWS)


def test_every_setting_that_is_named_is_one() -> None:
    sizing = _PAGE.split("## How many processors")[1].split("## What is measured")[0]

    settings = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", sizing))

    assert {"model_memory_bytes", "queue_tokens"} <= settings
    assert settings <= set(InferenceSettings.model_fields)
