"""`docs/training.md` names every hyperparameter with the range that the code has."""

from __future__ import annotations

import re
from pathlib import Path

from services.trainer.recipe import RANGES, Preset

PAGE = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| .* \| (.*) \|$", re.MULTILINE)


def _number(text: str) -> float:
    # 2³¹ - 1 is how a person writes it.
    return 2**31 - 1 if text.startswith("2³¹") else float(text.replace(",", ""))


def test_the_table_is_complete_and_its_ranges_are_those_of_the_code() -> None:
    table = dict(ROW.findall(PAGE))

    assert re.findall(r"`(\w+)`", table.pop("preset")) == [preset.name for preset in Preset]
    told = {
        name: tuple(_number(end) for end in cell.split(", at most")[0].split(" to "))
        for name, cell in table.items()
    }
    assert told == {name: (ends.least, ends.most) for name, ends in RANGES.items()}
