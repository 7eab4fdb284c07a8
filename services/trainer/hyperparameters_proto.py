"""Hyperparameters on the wire, and by name as the recipe and the database take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isogloss.v1.hyperparameters_pb2 import Hyperparameters

_PREFIX = "PRESET_"


def hyperparameters_from_proto(message: Hyperparameters) -> dict[str, Any]:
    """Return what is set, by name; a preset in lower case, or its number where it has no name."""
    found: dict[str, Any] = {
        field.name: value if isinstance(value, int | float) else list(value)
        for field, value in message.ListFields()
    }
    if "preset" in found:
        names = Hyperparameters.Preset.DESCRIPTOR.values_by_number
        value = names.get(message.preset)
        found["preset"] = (
            str(message.preset) if value is None else value.name.removeprefix(_PREFIX).lower()
        )
    return found


def hyperparameters_to_proto(fields: Mapping[str, Any]) -> Hyperparameters:
    """Return the message for what `hyperparameters_from_proto` returned; None is unset."""
    given = {name: value for name, value in fields.items() if value is not None}
    if "preset" in given:
        given["preset"] = _PREFIX + given["preset"].upper()
    return Hyperparameters(**given)
