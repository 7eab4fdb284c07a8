"""Resource names of what a caller hands in."""

from __future__ import annotations

from isogloss.aliases import Alias
from isogloss.datasets import Dataset
from isogloss.models import BaseModel, Model


def name_of(resource: str | Dataset | Model | BaseModel | Alias) -> str:
    """Give the full resource name; a string is taken as it is."""
    return resource if isinstance(resource, str) else resource.name
