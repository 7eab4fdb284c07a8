"""Reads a Parquet file, of which only the columns that are needed are ever unpacked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from services.ingest.dataset import DatasetOptions, Dialect, Format, Limits, Split
from services.ingest.finding import Code, Finding, FindingWriter, Refused
from services.ingest.reading.columns import Columns, Head, check_width, choose_columns
from services.ingest.reading.record_writer import RecordWriter
from services.ingest.reading.values import ValueWriter
from services.ingest.workbench import EngineOptions, Workbench

_MAGIC = b"PAR1"
_BATCH = 1024
_ENGINE = EngineOptions(memory_limit="512MiB", threads=1)

_DESCRIBE = "DESCRIBE SELECT * FROM read_parquet(getvariable('uploaded'))"
_SAMPLE = """
SELECT left(COLUMNS(*)::VARCHAR, 500) FROM read_parquet(getvariable('uploaded')) LIMIT 1000
"""
_VALUES = """
SELECT COLUMNS(lambda name: list_contains(getvariable('wanted'), name))
FROM read_parquet(getvariable('uploaded'))
"""
# Times with a zone are texts from here on, in UTC: Python would need a module of its own for them.
_VALUES_WITH_ZONES = """
SELECT
  COLUMNS(lambda name: list_contains(getvariable('wanted'), name)),
  COLUMNS(lambda name: list_contains(getvariable('zoned'), name))::VARCHAR
FROM read_parquet(getvariable('uploaded'))
"""
_ZONED = "WITH TIME ZONE"
_UNREADABLE = ("STRUCT", "MAP", "UNION", "GEOMETRY", "VARIANT")
"""Types that are neither a text nor a label nor a list of labels."""


def is_parquet(head: bytes, options: DatasetOptions) -> bool:
    """Tell whether a file is to be read as Parquet, by its first bytes or as declared."""
    if options.format:
        return options.format is Format.PARQUET
    return head.startswith(_MAGIC)


def read_parquet(
    chunks: Iterable[bytes],
    *,
    directory: Path,
    split: Split,
    options: DatasetOptions,
    limits: Limits,
    out: RecordWriter,
    findings: FindingWriter,
    check: Callable[[], None],
) -> Dialect:
    """Write the records of a Parquet file; what counts as a line is its row.

    Args:
        chunks: The file.
        directory: Scratch, where the file is kept meanwhile: its index is at its end.
        split: Which file it is.
        options: What the caller declared.
        limits: What is too much.
        out: Receives the records and what is wrong with rows.
        findings: Receives what there is to say about the columns.
        check: Called between rows; what it raises ends the reading.

    Raises:
        Refused: Where the file is damaged, or holds no labelled texts.
    """
    path = directory / f"{split}.upload.parquet"
    with path.open("wb") as spool:
        for chunk in chunks:
            spool.write(chunk)
    try:
        # A database of its own: a damaged file may leave it unusable.
        with Workbench(directory, _ENGINE) as bench:
            bench.set(uploaded=str(path))
            types = {name: kind for name, kind, *_ in bench.rows(_DESCRIBE)}
            check_width(len(types), limits)
            head = _head(bench, list(types))
            columns = choose_columns(head, options, split)
            findings.extend(replace(finding, split=split) for finding in columns.findings)
            _check_types(list(types.values()), columns)
            rows = ValueWriter(
                columns=columns, label_separator=options.label_separator, limits=limits, out=out
            )
            zoned = {name for name, kind in types.items() if _ZONED in kind}
            for values in _values(bench, head, columns, zoned, check):
                rows.add(values)
    except duckdb.OutOfMemoryException:
        raise _refused(
            Code.UNSUPPORTED_FORMAT,
            f"A row group of the Parquet file needs more memory than {_ENGINE.memory_limit}.",
            "Write it in row groups of at most 100,000 rows.",
        ) from None
    except duckdb.Error:
        raise _refused(
            Code.CORRUPT_FILE,
            "The Parquet file is damaged or cut off.",
            "Upload it again, or write it anew.",
        ) from None
    finally:
        path.unlink(missing_ok=True)
    # Not above: where those who take the rows fail, it is not the file that is damaged.
    rows.finish()
    return rows.dialect(Format.PARQUET)


def _head(bench: Workbench, names: Sequence[str]) -> Head:
    rows = bench.rows(_SAMPLE)
    return Head(
        names=names, width=len(names), rows=[[value or "" for value in row] for row in rows]
    )


def _values(
    bench: Workbench,
    head: Head,
    columns: Columns,
    zoned: Collection[str],
    check: Callable[[], None],
) -> Iterator[Sequence[object]]:
    """Yield the rows, in the same list, with the values that are needed."""
    further = [position for _, position in columns.kept]
    positions = sorted({columns.text, columns.labels, *further, *_split(columns)})
    last = [position for position in positions if head.names[position] in zoned]
    wanted = [position for position in positions if position not in last]
    bench.set(
        wanted=[head.names[position] for position in wanted],
        zoned=[head.names[position] for position in last],
    )
    values: list[object] = [None] * head.width
    for batch in bench.batches(_VALUES_WITH_ZONES if last else _VALUES, _BATCH):
        check()
        for row in batch:
            for position, value in zip([*wanted, *last], row, strict=True):
                values[position] = value
            yield values


def _split(columns: Columns) -> tuple[int, ...]:
    return () if columns.split is None else (columns.split,)


def _check_types(types: Sequence[str], columns: Columns) -> None:
    """Refuse texts and labels of a type that is neither.

    Raises:
        Refused: Naming the columns and their types.
    """
    wrong = [
        Finding(
            code=Code.UNSUPPORTED_FORMAT,
            message=f"The column {columns.names[n]!r} is of the type {types[n][:80]}.",
            column=column,
            fix=f"Write it as text, or declare another {column}_column.",
        )
        for n, column in ((columns.text, "text"), (columns.labels, "label"))
        if types[n].startswith(_UNREADABLE)
        or (types[n].endswith("]") and (column == "text" or _ZONED in types[n]))
        or (column == "text" and _ZONED in types[n])
    ]
    if wrong:
        raise Refused(*wrong)


def _refused(code: Code, message: str, fix: str) -> Refused:
    return Refused(Finding(code=code, message=message, fix=fix))
