"""Runs the front check or the whole validation over bytes that a test wrote."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from services.ingest.checks.rulebook import Parent, Rulebook
from services.ingest.checks.validation import Verdict, validate
from services.ingest.dataset import (
    Checked,
    DatasetOptions,
    Limits,
    Profile,
    RecordLayout,
    Records,
    Split,
    UploadedFile,
)
from services.ingest.finding import FindingWriter
from services.ingest.reading.front_check import HEAD_BYTES, check_file
from services.ingest.workbench import EngineOptions

SMALL = Profile(min_examples=10, advised_examples=20, min_per_label=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontCheck:
    checked: Checked
    layout: RecordLayout
    records: bytes
    findings: list[tuple[str, int, int]]
    """Code, line, row."""

    messages: dict[str, str]
    """Message and fix of the last finding of each code."""

    places: list[tuple[int, int]]
    """Row and line of every record."""

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells of every record."""
        layout = self.layout
        lines = io.StringIO(self.records.decode(), newline="")
        return [tuple(row) for row in csv.reader(lines, delimiter=layout.delimiter)]

    def examples(self) -> list[tuple[str, str]]:
        """Return text and labels of every record."""
        layout = self.layout
        return [(row[layout.text], row[layout.labels]) for row in self.rows()]


def front_check(
    content: bytes,
    *,
    options: DatasetOptions | None = None,
    limits: Limits | None = None,
    chunk: int = 1 << 20,
    head_bytes: int = HEAD_BYTES,
) -> FrontCheck:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        taken: list[Records] = []
        with FindingWriter(directory / "findings.csv") as findings:
            checked = check_file(
                UploadedFile(size_bytes=len(content), chunks=partial(pieces, content, chunk)),
                split=Split.TRAIN,
                options=options or DatasetOptions(),
                limits=limits or Limits(),
                directory=directory,
                take=taken.append,
                forget=taken.clear,
                findings=findings,
                head_bytes=head_bytes,
                block_bytes=chunk,
            )
        with (directory / "findings.csv").open(newline="") as file:
            found = list(csv.reader(file))
        return FrontCheck(
            checked=checked,
            layout=taken[0].layout,
            records=b"".join(records.path.read_bytes() for records in taken),
            findings=[(row[4], int(row[1]), int(row[2])) for row in found],
            messages={row[4]: f"{row[6]} {row[8]}" for row in found},
            places=[place for records in taken for place in _places(records)],
        )


def _places(records: Records) -> list[tuple[int, int]]:
    with records.positions.open() as file:
        moves = {int(n): (int(rows), int(lines)) for n, rows, lines in csv.reader(file)}
    places = []
    rows = lines = 0
    for n in range(records.count):
        more_rows, more_lines = moves.get(n, (0, 0))
        rows, lines = rows + more_rows, lines + more_lines
        places.append((n + rows, n + lines))
    return places


def pieces(content: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    verdict: Verdict
    rows: Mapping[Split, list[tuple[str, str, int, int]]]
    """Text, label (the first of several), row, line."""

    tables: Mapping[Split, list[dict[str, Any]]]
    """Every column as it is published."""

    findings: list[dict[str, Any]]

    @property
    def labels(self) -> Mapping[Split, list[tuple[str, ...]]]:
        return {
            split: [tuple(row["labels"]) for row in table] for split, table in self.tables.items()
        }

    def found(self) -> list[tuple[str, str, int]]:
        """Return split, code and line of every finding."""
        return [(f["split"], f["code"], f["line"]) for f in self.findings]


def validated(
    files: Mapping[Split, bytes] | bytes,
    *,
    options: DatasetOptions | None = None,
    profile: Profile = SMALL,
    limits: Limits | None = None,
    threads: int = 1,
    parent: Parent | None = None,
    progress: Callable[[str, float], None] = lambda _phase, _share: None,
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
                engine=EngineOptions(threads=threads),
            ),
            directory=Path(name),
            parent=_moved(parent, Path(name)),
            progress=progress,
        )
        tables = {part.split: _read(part.path) for part in verdict.splits}
        rows = {
            split: [
                (row["text"], next(iter(row["labels"]), ""), row["row"], row["line"])
                for row in table
            ]
            for split, table in tables.items()
        }
        findings = _read(verdict.findings)
        return Validated(verdict=verdict, rows=rows, tables=tables, findings=findings)


def _moved(parent: Parent | None, directory: Path) -> Parent | None:
    """Return the parent with its files in the scratch directory of the validation."""
    if parent is None:
        return None
    paths = {split: directory / f"parent.{split}.parquet" for split in parent.splits}
    for split, path in parent.splits.items():
        shutil.copy(path, paths[split])
    return replace(parent, splits=paths)


def _read(path: Path) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        result = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
