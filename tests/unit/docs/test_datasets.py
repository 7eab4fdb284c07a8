"""`docs/datasets.md` says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer

from isogloss import Cleaning, DatasetOptions
from isogloss.cli.app import app
from services.ingest.finding import Code, severity_of

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_its_codes_are_the_codes_with_their_severity_and_each_has_a_way_out() -> None:
    severities = "info|warning|row dropped|error"
    row = rf"^\| `(\w+)` \| ({severities}) \| (.+) \| (.+) \|$"
    rows = re.findall(row, PAGE, re.MULTILINE)

    told = [(code, severity.replace(" ", "_").upper()) for code, severity, _, _ in rows]

    assert told == [(code.value, severity_of(code).name) for code in Code]
    assert all(found.strip() and fix.strip() for _, _, found, fix in rows)


def test_every_option_and_step_of_cleaning_is_named() -> None:
    split = {"validation_share", "test_share", "seed", "split_column", "cleaning"}
    named = {field.name for field in fields(DatasetOptions)} - split
    named |= {field.name for field in fields(Cleaning)}

    assert {name for name in named if f"`{name}`" not in PAGE} == set()


def test_every_flag_and_command_that_it_names_exists() -> None:
    group: Any = typer.main.get_command(app)
    commands = group.commands["datasets"].commands
    flags = {
        flag
        for command in commands.values()
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }

    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= {*flags, "--help"}
    assert set(re.findall(r"isogloss datasets (\w+)", PAGE)) <= set(commands)
