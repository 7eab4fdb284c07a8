"""What a caller hands in to be uploaded, as files: paths as they are, tables through a spool."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from isogloss.api.tables import Table, write_rows
from isogloss.dataset_options import DatasetOptions, FileFormat
from isogloss.dataset_report import Split
from isogloss.errors import InvalidArgument, Violation

CHUNK_BYTES = 1024 * 1024
"""What one message holds: as much as the service takes."""

Rows = str | os.PathLike[str] | Table
"""A file's path, or a table in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that is to be sent, as it was when it was looked at."""

    split: Split
    path: Path
    size: int
    sha256: str = ""
    """Lower-case hexadecimal; empty where it was not summed."""


def spooled(
    given: Mapping[Split, Rows | None], options: DatasetOptions, folder: str
) -> tuple[Mapping[Split, Path], DatasetOptions]:
    """Write tables into files, and say so in the options.

    Args:
        given: What each split is made of; None is left out.
        options: As the caller gave them.
        folder: Takes the files.

    Raises:
        InvalidArgument: A table cannot be sent, or the options speak of another format; a path
            leads to a pipe.
    """
    paths: dict[Split, Path] = {}
    tables = 0
    for split, rows in given.items():
        if isinstance(rows, str | os.PathLike):
            paths[split] = Path(rows)
            _check_file(paths[split], split)
        elif rows is not None:
            paths[split] = Path(folder, f"{split}.jsonl")
            write_rows(rows, paths[split], split=split, options=options)
            tables += 1
    if tables and options.format not in {None, FileFormat.JSONL}:
        description = "Tables in memory are sent as JSON lines: leave `format` out."
        raise InvalidArgument(
            f"format: {description}",
            violations=[Violation(field="format", description=description)],
        )
    return paths, replace(options, format=FileFormat.JSONL) if tables == len(paths) else options


def _check_file(path: Path, split: Split) -> None:
    """Refuse what can be read once only: a file is summed before it is sent."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        description = f"{path} is a pipe or a device: write it into a file first."
        raise InvalidArgument(
            f"{split}: {description}",
            violations=[Violation(field=split, description=description)],
        )


def sized(split: Split, path: Path) -> Source:
    """Look at the size of a file.

    Raises:
        OSError: It is not there.
    """
    return Source(split=split, path=path, size=path.stat().st_size)


def measured(split: Split, path: Path) -> Source:
    """Read a file once for its size and its sum.

    The sum is taken before anything is sent, so that a file that changes on the way is
    noticed, and so that an upload can go on in another process.
    """
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
            size += len(data)
    return Source(split=split, path=path, size=size, sha256=digest.hexdigest())


def chunks(source: Source, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Give a stretch of a file in pieces, each with its offset.

    Raises:
        OSError: It became shorter since it was looked at.
    """
    with source.path.open("rb") as file:
        file.seek(start)
        while start < end:
            data = file.read(min(CHUNK_BYTES, end - start))
            if not data:
                raise OSError(f"{source.path} became shorter while it was uploaded.")
            yield start, data
            start += len(data)


def refuse_empty(sources: Sequence[Source]) -> None:
    """Refuse files without a byte before anything is created for them.

    Raises:
        InvalidArgument: There is one; all of them are named.
    """
    empty = [source for source in sources if not source.size]
    if empty:
        raise InvalidArgument(
            f"{empty[0].split}: {empty[0].path} is empty.",
            violations=[
                Violation(field=source.split, description=f"{source.path} is empty.")
                for source in empty
            ],
        )
