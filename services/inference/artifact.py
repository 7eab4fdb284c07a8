"""A file in the object store, as a manifest names it. Must not know what is in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file in the object store."""

    key: str
    size: int
    """Bytes."""

    sha256: str
    """Lower-case hexadecimal."""
