"""`docs/evaluation.md` says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from isogloss.cli.app import app
from services.trainer.evaluating import calls, rows
from services.trainer.evaluation import (
    advice,
    heads,
    neutral,
    projection,
    reliability,
    scoring,
    significance,
    stored,
)
from services.trainer.evaluation import assessment as whole

PAGE = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())


def test_its_numbers_are_the_codes() -> None:
    for said in (
        f"over {reliability._BINS} bins",
        f"So {reliability._SIMULATIONS} such models",
        f"{len(neutral.SENTENCES)} sentences",
        f"at most {projection.MOST_POINTS:,} held-out rows",
        f"an interval from {significance._MOST_RESAMPLES:,} draws",
        f"{significance._LEAST_RESAMPLES} at least",
        f"at most {scoring._WORST} worst errors, {whole._MOST_LABEL_ERRORS} suspicious rows",
        f"may have {rows.MAX_WAITING} evaluations",
        f"reads {calls._COMPARED_BYTES // 1024**2} MiB of predictions",
        f"Excerpts ({stored.TEXT_CHARACTERS} characters; {stored.POINT_CHARACTERS} on the map)",
        f"From {heads._MOST_ROWS:,} training rows on",
        f"C = {heads._STRENGTH:.0f}",
        f"own F1 is below {advice._FEEDABLE_F1}",
        f"at least {advice._FEW_SCORED} rows were scored",
    ):
        assert said in WORDS


def test_its_commands_exist() -> None:
    models = typer.main.get_command(app).commands["models"]  # type: ignore[attr-defined] # a group
    for line in re.findall(r"^    isogloss models (.+)$", PAGE, re.MULTILINE):
        name, *rest = line.split()
        flags = {flag for option in models.commands[name].params for flag in option.opts}
        assert {word.strip("[]") for word in rest if word.startswith(("--", "[--"))} <= flags
