"""Runs the front check or the whole validation over bytes that a test wrote."""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from services.ingest.checks.validation import Rulebook, Verdict, validate
from services.ingest.dataset import (
    Checked,
    DatasetOptions,
    Limits,
    Profile,
    Split,
    UploadedFile,
)
from services.ingest.finding import FindingWriter
from services.ingest.reading.front_check import check_file
from services.ingest.reading.head_check import HEAD_BYTES
from services.ingest.workbench import EngineOptions

_COLUMNS = (
    "split",
    "line",
    "row",
    "column",
    "code",
    "severity",
    "message",
    "excerpt",
    "fix",
    "count",
)
SMALL = Profile(min_examples=10, advised_examples=20, min_per_label=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontCheck:
    checked: Checked
    records: bytes
    findings: list[tuple[str, int, int]]
    """Code, line, row."""


def front_check(
    content: bytes,
    *,
    options: DatasetOptions | None = None,
    limits: Limits | None = None,
    chunk: int = 1 << 20,
) -> FrontCheck:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with FindingWriter(directory / "findings.csv") as findings:
            checked = check_file(
                pieces(content, chunk),
                split=Split.TRAIN,
                options=options or DatasetOptions(),
                limits=limits or Limits(),
                directory=directory,
                findings=findings,
                head_bytes=_head_bytes(content) if chunk < len(content) else HEAD_BYTES,
            )
        with (directory / "findings.csv").open(newline="") as file:
            found = [(row[4], int(row[1]), int(row[2])) for row in csv.reader(file)]
        return FrontCheck(checked=checked, records=checked.records.read_bytes(), findings=found)


def _head_bytes(content: bytes) -> int:
    """Return so little that all but the first line is read as a stream."""
    first = re.match(rb"[^\r\n]*[\r\n]*", content)
    return first.end() + 2 if first else len(content)


def pieces(content: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    verdict: Verdict
    rows: Mapping[Split, list[tuple[str, str, int, int]]]
    """Text, label, row, line."""

    findings: list[dict[str, Any]]

    def found(self) -> list[tuple[str, str, int]]:
        """Return split, code and line of every finding."""
        return [(f["split"], f["code"], f["line"]) for f in self.findings]


def validated(
    files: Mapping[Split, bytes] | bytes,
    *,
    options: DatasetOptions | None = None,
    profile: Profile = SMALL,
    limits: Limits | None = None,
) -> Validated:
    if isinstance(files, bytes):
        files = {Split.TRAIN: files}
    with tempfile.TemporaryDirectory() as name:
        verdict = validate(
            {
                split: UploadedFile(size_bytes=len(content), chunks=partial(pieces, content))
                for split, content in files.items()
            },
            rulebook=Rulebook(
                options=options or DatasetOptions(),
                profile=profile,
                limits=limits or Limits(),
                engine=EngineOptions(threads=1),
            ),
            directory=Path(name),
        )
        rows = {
            part.split: [
                (text, labels[0], row, line)
                for text, labels, row, line in _read(part.path, "text, labels, row, line")
            ]
            for part in verdict.splits
        }
        columns = [
            "split",
            "line",
            "row",
            "column",
            "code",
            "severity",
            "message",
            "excerpt",
            "fix",
            "count",
        ]
        found = _read(verdict.findings, ", ".join(f'"{column}"' for column in columns))
        return Validated(
            verdict=verdict,
            rows=rows,
            findings=[dict(zip(_COLUMNS, row, strict=True)) for row in found],
        )


def _read(path: Path, columns: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        query = f"SELECT {columns} FROM read_parquet(?)"  # noqa: S608  # columns are the test's
        return connection.execute(query, [str(path)]).fetchall()
