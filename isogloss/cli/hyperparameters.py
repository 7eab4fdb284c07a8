"""Hyperparameters as a command line gives them: flags for a few, `NAME=VALUE` for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import typer

from isogloss.models import Hyperparameters, Preset

_FIELDS = {field.name: field for field in fields(Hyperparameters)}


def hyperparameters(settings: Sequence[str], **flags: Any) -> Hyperparameters:  # noqa: ANN401 (as the flags are typed)
    """Put together what flags and settings say.

    Args:
        settings: `NAME=VALUE` each.
        flags: By the names of `Hyperparameters`; None where a flag was not given.

    Raises:
        typer.BadParameter: A setting has no such form or name, or says what a flag says as well.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for setting in settings:
        name, mark, value = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not mark or name not in _FIELDS:
            raise typer.BadParameter(
                f"--set {setting}: give NAME=VALUE with one of {', '.join(sorted(_FIELDS))}."
            )
        if name in given:
            raise typer.BadParameter(f"--set {setting}: {name} is given twice.")
        given[name] = _value(name, value.strip())
    return Hyperparameters(**given)


def named(given: Hyperparameters) -> Iterator[tuple[str, str]]:
    """Yield what is set, by name, as a person reads it."""
    for name in _FIELDS:
        value = getattr(given, name)
        if value is not None:
            yield name.replace("_", " "), _shown(value)


def _shown(value: Preset | float | tuple[int, ...]) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value.lower() if isinstance(value, Preset) else f"{value:g}"


def _value(name: str, value: str) -> Preset | float | tuple[int, ...]:
    if name == "preset":
        choices = [preset for preset in Preset if preset is not Preset.UNKNOWN]
        if value.upper() not in choices:
            known = ", ".join(choice.lower() for choice in choices)
            raise typer.BadParameter(f"--set preset={value}: it is none of {known}.")
        return Preset(value.upper())
    kind = str(_FIELDS[name].type)
    whole = "int" in kind
    try:
        if "tuple" in kind:
            return tuple(int(part) for part in value.split(","))
        return int(value) if whole else float(value)
    except ValueError:
        wanted = "whole number" if whole else "number"
        raise typer.BadParameter(f"--set {name}={value}: {value!r} is no {wanted}.") from None
