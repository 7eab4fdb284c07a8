"""Resource names: full paths such as `models/tone-ab12cd`, never a bare id (AIP-122)."""

from __future__ import annotations

import re
import secrets
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from services.common.errors import FieldViolation, InvalidArgument

MAX_DISPLAY_NAME = 100
"""Characters of a name for people: what fits one line of a table."""

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""1 to 63 characters, as AIP-122 and DNS labels have it: safe as a segment of a key."""

_SLUG_LENGTH = 40
_SUFFIX_LENGTH = 6
"""32**6 = 1.1e9 suffixes: among a thousand resources of one slug, two collide with a chance of
1 in 2,000, and creation then takes another."""

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
"""RFC 4648's base32 in lower case: no 0, 1 and 8 that look like letters."""


class Collection(StrEnum):
    """The collections that resources live in."""

    DATASETS = "datasets"
    MODELS = "models"
    BASE_MODELS = "baseModels"
    ALIASES = "aliases"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceName:
    """A full resource name, taken apart."""

    collection: Collection
    id: str

    def __str__(self) -> str:
        """Return the full name, `collection/id`."""
        return f"{self.collection}/{self.id}"


def parse(name: str, *collections: Collection, field: str = "name") -> ResourceName:
    """Take a full name apart.

    Args:
        name: As the caller sent it.
        collections: Those it may be of.
        field: Path of the request's field, for the error.

    Raises:
        InvalidArgument: Where it is not of the form `collection/id`; shows that form.
    """
    forms = " or ".join(f"{collection}/ID" for collection in collections)
    if not name:
        raise InvalidArgument(FieldViolation(field=field, description=f"is required: {forms}."))
    head, separator, identifier = name.partition("/")
    if separator and head in set(collections) and _ID.fullmatch(identifier):
        return ResourceName(collection=Collection(head), id=identifier)
    shown = repr(name if len(name) <= MAX_DISPLAY_NAME else f"{name[:MAX_DISPLAY_NAME]}...")
    if not separator and _ID.fullmatch(name):
        whole = " or ".join(f"{collection}/{name}" for collection in collections)
        description = f"{shown} is an id alone: send the full name, {whole}."
    else:
        description = f"{shown} is no name of the form {forms}."
    raise InvalidArgument(FieldViolation(field=field, description=description))


def read(
    name: str, *collections: Collection, field: str, violations: list[FieldViolation]
) -> ResourceName | None:
    """Take a full name apart like `parse`, or note what is wrong with it and return None.

    For requests of several fields, of which all that are wrong are told at once.
    """
    try:
        return parse(name, *collections, field=field)
    except InvalidArgument as error:
        violations.extend(error.violations)
        return None


def read_id(
    name: str, collection: Collection, *, field: str, violations: list[FieldViolation]
) -> str:
    """Return the id in a full name, or note what is wrong with it and return nothing."""
    found = read(name, collection, field=field, violations=violations)
    return "" if found is None else found.id


def new_name(collection: Collection, display_name: str) -> ResourceName:
    """Make a name that starts like `display_name` and ends in a random suffix."""
    plain = unicodedata.normalize("NFKD", display_name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG_LENGTH].strip("-")
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX_LENGTH))
    # A name without one Latin letter still tells what it is.
    head = slug or collection.removesuffix("s").lower()
    return ResourceName(collection=collection, id=f"{head}-{suffix}")


def check_display_name(name: str, *, field: str = "display_name") -> list[FieldViolation]:
    """Return what is wrong with a name for people: nothing, or one violation."""
    if not name.strip():
        problem = "is required: a name for people, such as 'Tone of messages'."
    elif len(name) > MAX_DISPLAY_NAME:
        problem = f"has {len(name)} characters; at most {MAX_DISPLAY_NAME} are allowed."
    elif not name.isprintable():
        problem = "holds a line break or another character that cannot be shown."
    else:
        return []
    return [FieldViolation(field=field, description=problem)]
