"""Writes `docs/configuration.md` from the settings classes. Knows no service by name.

python -m services.common.configuration [--check] PATH services.ingest.settings:IngestSettings ...
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_core import to_json

from services.common.settings import DatabaseSettings, ServiceSettings

_HEAD = """\
# Configuration

Generated from the settings classes by `make docs`; change their docstrings, not this page.

Every setting is an environment variable and a flag of `isogloss serve SERVICE`; the flag wins.
`SERVICE` below stands for the service's name: `ISOGLOSS_SERVICE_STORE` is
`ISOGLOSS_INGEST_STORE` for ingest. An unknown variable with a service's prefix is an error.

A secret can be a file instead: `ISOGLOSS_SECRETS_DIRECTORY` names a directory, and a file in it
is named as the variable that it stands for, such as `ISOGLOSS_INGEST_STORE_SECRET_KEY`. A variable
wins over its file.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, or with `--check` say whether it is up to date."""
    parser = argparse.ArgumentParser(prog="python -m services.common.configuration")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    parser.add_argument("page", type=Path)
    parser.add_argument("settings", nargs="+", metavar="module:Class")
    arguments = parser.parse_args(argv)
    text = page([_imported(path) for path in arguments.settings])
    if not arguments.check:
        arguments.page.write_text(text)
        return 0
    if arguments.page.exists() and arguments.page.read_text() == text:
        return 0
    sys.stderr.write(f"{arguments.page} is out of date: run the same command without --check\n")
    return 1


def page(services: Iterable[type[ServiceSettings]]) -> str:
    """Return the page: what all share, what those with a database share, then each service."""
    services = tuple(services)
    overridden = {name for service in services for name in _own(service)}
    parts = [_HEAD, "## Every service\n"]
    parts += _entries(ServiceSettings, "ISOGLOSS_SERVICE_", _own(ServiceSettings) - overridden)
    if any(issubclass(service, DatabaseSettings) for service in services):
        names = ", ".join(s.service for s in services if issubclass(s, DatabaseSettings))
        parts.append(f"## Services with a database ({names})\n")
        parts += _entries(DatabaseSettings, "ISOGLOSS_SERVICE_", _own(DatabaseSettings))
    for service in services:
        parts.append(f"## {service.service}\n")
        parts += _entries(service, service.model_config["env_prefix"], _own(service))
    return "\n".join(parts)


def _own(settings: type[ServiceSettings]) -> set[str]:
    """Return the names that the class itself declares."""
    return set(settings.__annotations__) & set(settings.model_fields)


def _entries(settings: type[ServiceSettings], prefix: str, names: set[str]) -> list[str]:
    schema = settings.model_json_schema()
    properties, definitions = schema["properties"], schema.get("$defs", {})
    entries = []
    for name, field in settings.model_fields.items():
        if name not in names:
            continue
        # A service that overrides only a default leaves the description to the base class.
        description = field.description or ServiceSettings.model_fields[name].description or ""
        entries.append(
            f"### `{prefix}{name.upper()}`\n\n"
            f"`--{name.replace('_', '-')}` · {_kind(properties[name], definitions)} · "
            f"{_default(field.get_default(call_default_factory=True))}\n\n"
            f"{' '.join(description.split())}\n"
        )
    return entries


def _kind(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Name the type, and the range where there is one."""
    if "$ref" in schema:
        return _kind(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        choices = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
        return " or ".join(_kind(choice, definitions) for choice in choices)
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = {
        "integer": "whole number",
        "string": "text",
        "boolean": "`true` or `false`",
        "object": "JSON object",
        "array": "JSON array",
    }.get(schema["type"], schema["type"])
    if schema.get("format") in {"path", "file-path", "directory-path"}:
        kind = "path"
    if schema.get("writeOnly"):
        kind = "secret"
    limits = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    return ", ".join([kind, *(f"{limits[key]} {schema[key]}" for key in limits if key in schema)])


def _default(value: object) -> str:
    shown = value.get_secret_value() if isinstance(value, SecretStr) else value
    if shown is None or shown == "":
        return "unset by default"
    if not isinstance(shown, (str, int, float, Path)) or isinstance(shown, bool):
        shown = to_json(shown).decode()
    return f"default `{shown}`"


def _imported(path: str) -> type[ServiceSettings]:
    module, _, name = path.partition(":")
    found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, ServiceSettings)):
        raise TypeError(f"{path} is no settings class")
    return found


if __name__ == "__main__":
    sys.exit(main())
