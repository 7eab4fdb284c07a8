"""What a dataset is judged by, and the hash that says whether two are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from services.ingest.dataset import DatasetOptions, Limits, Profile, Split
from services.ingest.workbench import EngineOptions

RULES_VERSION = 2
"""Part of every content hash: raise it when the same bytes would give other rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """What the operator and the caller demand of a dataset."""

    options: DatasetOptions
    profile: Profile
    limits: Limits
    engine: EngineOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The dataset that new rows are added to."""

    name: str
    """`datasets/{dataset}`, for findings."""

    content_hash: str
    multi_label: bool
    given: frozenset[Split]
    """Splits that it has from files or a column; new rows are dealt out for the others only."""

    splits: Mapping[Split, Path]
    """Its Parquet files, in the scratch directory of this validation."""


def content_hash(
    files: Mapping[Split, str], rulebook: Rulebook, parent: Parent | None = None
) -> str:
    """Return the hash of the files' bytes and of everything that decides what becomes of them.

    Args:
        files: sha256 of each uploaded file.
        rulebook: Options, profile and limits.
        parent: What they are added to.
    """
    described = {
        "rules": RULES_VERSION,
        "files": {str(split): files[split] for split in Split if split in files},
        "options": asdict(rulebook.options),
        "profile": asdict(rulebook.profile),
        "limits": asdict(rulebook.limits),
        "parent": parent.content_hash if parent else "",
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
