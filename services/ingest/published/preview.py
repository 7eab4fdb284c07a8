"""The first rows of each split and its labels, from the Parquet of validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from services.ingest.checks.written import SplitRows
from services.ingest.dataset import Example, Split
from services.ingest.published.artefacts import ArtefactCache
from services.ingest.record import StoredSplit

MAX_TEXT_LENGTH = 2000
"""Characters of a text that a preview shows."""

MAX_ROWS = 100
"""Rows of each split: 3 splits of 100 texts of 2000 characters of up to 4 bytes are 2.4 MB, less
than a response may have."""

# One thread that keeps the order of insertion reads the beginning of the file and no more.
_FIRST_ROWS = """
SELECT left(text, $length), labels, row, line FROM read_parquet($path) LIMIT $rows
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPreview:
    """The beginning of one split and all its labels."""

    split: Split
    examples: tuple[Example, ...]
    labels: tuple[tuple[str, int], ...]
    """Each label and its rows, most frequent first."""

    row_count: int


def at_hand(splits: Sequence[StoredSplit], cache: ArtefactCache) -> list[SplitRows]:
    """Bring published splits to this machine, where they are not there yet."""
    return [
        SplitRows(
            split=stored.split,
            path=cache.path(stored.file),
            row_count=stored.row_count,
            labels=stored.labels,
        )
        for stored in splits
    ]


def preview(splits: Sequence[SplitRows], *, rows: int) -> list[SplitPreview]:
    """Read the first rows of each split.

    Args:
        splits: As validation wrote them, on this machine; see `at_hand`.
        rows: How many of each, 1 to 100.
    """
    return [
        SplitPreview(
            split=split.split,
            examples=tuple(
                Example(text=text, labels=tuple(labels), split=split.split, row=row, line=line)
                for text, labels, row, line in _rows(split.path, rows)
            ),
            labels=split.labels,
            row_count=split.row_count,
        )
        for split in splits
    ]


def _rows(path: Path, rows: int) -> list[tuple[str, list[str], int, int]]:
    parameters = {"length": MAX_TEXT_LENGTH, "path": str(path), "rows": min(rows, MAX_ROWS)}
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        return connection.execute(_FIRST_ROWS, parameters).fetchall()
