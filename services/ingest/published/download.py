"""What a dataset holds, as files: stored bytes as they are, or written in another format.

Blocking. Whatever is sent was verified, or the last step raises.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from services.common.errors import FailedPrecondition, FieldViolation, InvalidArgument
from services.common.manifests import verified
from services.common.storage import ObjectStore
from services.ingest.cancellation import Cancellation
from services.ingest.convert.datasets import file_to_proto
from services.ingest.creation import require
from services.ingest.dataset import Format, Split, State
from services.ingest.published.artefacts import ArtefactCache
from services.ingest.record import DatasetRecord, StoredFile
from services.ingest.workbench import EngineOptions, Workbench

_SENT_BYTES = 128 << 10
"""Bytes of one message of a file that was written anew. A caller who reads no more keeps its place
until one of them has had its time, which is why they are small."""

_SEPARATOR = "|"
"""Stands between the labels of one cell where the dataset's options name no separator."""

# What a person wrote, without what validation noted of it: it can be uploaded again.
_WRITTEN = """
CREATE VIEW written AS
SELECT COLUMNS(lambda name: name NOT IN ('row', 'line', 'group'))
FROM read_parquet(getvariable('source'))
"""
_SINGLE = "CREATE VIEW wanted AS SELECT * REPLACE (labels[1] AS labels) FROM written"
_JOINED = """
CREATE VIEW wanted AS
SELECT * REPLACE (array_to_string(labels, getvariable('separator')) AS labels) FROM written
"""
_LISTS = "CREATE VIEW wanted AS SELECT * FROM written"
_FINDINGS = """
CREATE VIEW wanted AS
SELECT * REPLACE (['info', 'warning', 'row_dropped', 'error'][severity] AS severity)
FROM read_parquet(getvariable('source'))
"""
_COPIES = {
    Format.CSV: "COPY (FROM wanted) TO (getvariable('target')) (FORMAT csv, HEADER)",
    Format.JSONL: "COPY (FROM wanted) TO (getvariable('target')) (FORMAT json)",
}


class Content(StrEnum):
    """What is to be sent."""

    ROWS = "rows"
    FINDINGS = "findings"
    RAW = "raw"


_CELLS = (Content.ROWS, Format.CSV)
"""Where the labels of a row share one cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a caller wants of a dataset."""

    content: Content
    split: Split | None
    """None for findings only."""

    format: Format
    """Of rows and findings; PARQUET is how they are stored."""

    @property
    def is_converted(self) -> bool:
        """Whether something else is sent than what is stored."""
        return self.content is not Content.RAW and self.format is not Format.PARQUET


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Bytes that are sent one after another."""

    size_bytes: int
    chunks: Iterator[bytes]
    """Pieces of at most 1 MiB."""


class Downloads:
    """Opens downloads. Thread safe."""

    def __init__(
        self, *, store: ObjectStore, cache: ArtefactCache, scratch: Path, engine: EngineOptions
    ) -> None:
        """Keep the parts.

        Args:
            store: Where published files lie.
            cache: Where copies of them are at hand.
            scratch: Directory for what is converted, on the same disk as the cache.
            engine: What DuckDB may use.
        """
        self._store = store
        self._cache = cache
        self._scratch = scratch
        self._engine = engine

    def stored(self, record: DatasetRecord, wanted: Wanted) -> Download:
        """Return what is stored, as it is.

        Raises:
            FailedPrecondition: Where the dataset has no such thing.
        """
        files = _files(record, wanted)
        return Download(
            size_bytes=sum(file.size for file in files), chunks=_verified(self._store, files)
        )

    def directory(self) -> AbstractContextManager[str]:
        """Return scratch for one conversion: it is gone after the block."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(
            dir=self._scratch, prefix="download-", ignore_cleanup_errors=True
        )

    def converted(
        self, record: DatasetRecord, wanted: Wanted, directory: Path, cancellation: Cancellation
    ) -> Download:
        """Write what is stored in another format.

        Args:
            record: The dataset.
            wanted: What of it, as CSV or JSON lines.
            directory: Scratch; the bytes are read from there.
            cancellation: Ends it from another thread.

        Raises:
            FailedPrecondition: Where the dataset has no such thing.
            InvalidArgument: Where it cannot be written in that format.
        """
        (file,) = _files(record, wanted)
        separator = _separator(record, wanted)
        source = self._cache.lend(file, directory)
        target = directory / "converted"
        with Workbench(directory, self._engine) as bench:
            cancellation.attach(bench.interrupt)
            try:
                cancellation.check()
                bench.set(source=str(source), target=str(target), separator=separator)
                for statement in (*_views(record, wanted), _COPIES[wanted.format]):
                    bench.run(statement)
            finally:
                cancellation.attach(None)
        return Download(size_bytes=target.stat().st_size, chunks=_read(target))


def _files(record: DatasetRecord, wanted: Wanted) -> tuple[StoredFile, ...]:
    found: tuple[StoredFile, ...]
    match wanted.content:
        case Content.FINDINGS:
            require(record, State.READY, State.FAILED)
            found = (record.findings,) if record.findings else ()
        case Content.ROWS:
            require(record, State.READY)
            found = tuple(rows.file for rows in record.splits if rows.split is wanted.split)
        case Content.RAW:
            require(record, State.READY)
            found = next((raw.parts for raw in record.raw if raw.split is wanted.split), ())
    if found:
        return found
    if wanted.content is Content.RAW and not record.options.keep_raw:
        raise FailedPrecondition(
            f"The uploaded files of {record.name} were not kept: only datasets that are created "
            "with keep_raw keep them. Its rows can be had.",
            metadata={"name": record.name},
        )
    what = "findings" if wanted.content is Content.FINDINGS else f"{wanted.split} file"
    raise FailedPrecondition(f"{record.name} has no {what}.", metadata={"name": record.name})


def _separator(record: DatasetRecord, wanted: Wanted) -> str:
    """Return what may stand between labels in a cell without being taken for a part of one."""
    separator = record.options.label_separator or _SEPARATOR
    if not _is_multi_label(record) or (wanted.content, wanted.format) != _CELLS:
        return separator
    labels = {label for rows in record.splits for label, _ in rows.labels}
    unclear = sorted(label for label in labels if separator in label)
    if unclear:
        raise InvalidArgument(
            FieldViolation(
                field="format",
                description=f"the label {unclear[0]!r} holds {separator!r}, which stands between "
                "labels in CSV: take FILE_FORMAT_JSONL or FILE_FORMAT_PARQUET.",
            )
        )
    return separator


def _views(record: DatasetRecord, wanted: Wanted) -> tuple[str, ...]:
    """Return the statements that make the view of what is written."""
    if wanted.content is Content.FINDINGS:
        return (_FINDINGS,)
    if not _is_multi_label(record):
        return (_WRITTEN, _SINGLE)
    return (_WRITTEN, _JOINED if wanted.format is Format.CSV else _LISTS)


def _is_multi_label(record: DatasetRecord) -> bool:
    return record.report is not None and record.report.multi_label


def _verified(store: ObjectStore, files: tuple[StoredFile, ...]) -> Iterator[bytes]:
    for file in files:
        yield from verified(store, file_to_proto(file))


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_SENT_BYTES):
            yield chunk
