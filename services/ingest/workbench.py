"""One DuckDB for one validation: bounded in memory, shut in a scratch directory.

SQL elsewhere is constant text; paths and numbers reach it as variables, so nothing that a
caller sent is ever part of a statement.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
from numpy.typing import NDArray

from services.ingest.arrow_stream import TextBatch, text_batches

Interrupted = duckdb.InterruptException
"""Raised by a statement that `Workbench.interrupt` has stopped."""

DiskFailed = duckdb.IOException
"""Raised by a statement whose files in the scratch directory cannot be read or written."""


# Twice as fast as the usual level, and a third larger; texts shrink to half in any case.
_COMPRESSED = "COMPRESSION zstd, COMPRESSION_LEVEL 1"

_GROUP_BYTES = 64 << 20
"""Of the rows that are collected before a Parquet file takes them; writing them needs four times
as much."""

_LEAST_ROWS, _MOST_ROWS = 2048, 122_880
"""Rows of such a group: what DuckDB works on at once, and what it collects by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What DuckDB may use."""

    memory_limit: str = "512MiB"
    """Beyond this it spills to the scratch directory."""

    threads: int = 2


class Workbench:
    """A connection and its scratch directory."""

    def __init__(self, directory: Path, options: EngineOptions) -> None:
        """Open an empty database that can read and write in `directory` only.

        Args:
            directory: Scratch that exists; the caller removes it.
            options: What DuckDB may use.
        """
        self.directory = directory.resolve()
        self._options = options
        self._beside: list[Workbench] = []
        self._lock = Lock()
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": options.memory_limit,
                "threads": options.threads,
                "temp_directory": str(self.directory / f"spill-{uuid.uuid4().hex}"),
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            },
        )
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET allowed_directories = ?", [[f"{self.directory}/"]])
        # No cell of a file can be this, so nothing is ever read as NULL.
        self.set(nullstr=uuid.uuid4().hex)
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def __enter__(self) -> Self:
        """Return the open workbench."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the database; its memory is free at once."""
        self._connection.close()

    @contextmanager
    def beside(self) -> Iterator[Workbench]:
        """Open another database of one thread in the same directory; it shares no tables.

        Several of them, each in a thread of its own, do the same work as one of several threads
        with a quarter less of the processors: one that keeps the order of rows by itself need
        not collect them in batches first.
        """
        with Workbench(self.directory, replace(self._options, threads=1)) as bench:
            with self._lock:
                self._beside.append(bench)
            try:
                yield bench
            finally:
                with self._lock:
                    self._beside.remove(bench)

    def interrupt(self) -> None:
        """Stop the statements that other threads run here and beside."""
        self._connection.interrupt()
        with self._lock:
            for bench in self._beside:
                bench.interrupt()

    def set(self, **variables: object) -> None:
        """Set variables that statements read by `getvariable`."""
        for name, value in variables.items():
            # The names are ours (Python keywords above), the values are bound.
            self._connection.execute(f"SET VARIABLE {name} = ?", [value])

    def run(self, statement: str) -> None:
        """Run one statement."""
        self._connection.execute(statement)

    def define(self, name: str, function: Callable[[Any], Any], *, types: str = "VARCHAR") -> None:
        """Let statements call a function that has no side effects.

        Args:
            name: By which they call it.
            function: Of one value to another of the same type; never sees NULL.
            types: SQL type of both.
        """
        self._connection.create_function(name, function, [types], types)

    def show(self, name: str, **columns: NDArray[Any]) -> None:
        """Let statements read arrays of one length as a table, without a copy of them.

        In `FROM staged POSITIONAL JOIN name` each row of `staged` has the values at its id, and
        rows keep their order. A join by id would hold all ids in memory and keep no order; a
        variable is copied for each two thousand rows.

        Args:
            name: Of the table; ours, never a caller's.
            columns: Name and values of each column.
        """
        self._connection.register(name, columns)

    def create_table(self, name: str, **columns: NDArray[Any]) -> None:
        """Create a table from arrays of one length.

        Args:
            name: Of the table; ours, never a caller's.
            columns: Name and values of each column.
        """
        self.show("arrays", **columns)
        self._connection.execute(f"CREATE TABLE {name} AS FROM arrays")
        self._connection.unregister("arrays")

    def columns(self, query: str) -> dict[str, NDArray[Any]]:
        """Return the columns of a query of numbers without NULL, as arrays."""
        found = self._connection.execute(query).fetchnumpy()
        return {name: np.asarray(values) for name, values in found.items()}

    def texts(self, query: str) -> Iterator[TextBatch]:
        """Yield the rows of a query of BIGINT and VARCHAR; run no other statement meanwhile."""
        return text_batches(self._connection.sql(query))

    def rows(self, query: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Return all rows of a query whose result is known to be small."""
        return self._connection.execute(query, parameters or []).fetchall()

    def value(self, query: str, parameters: list[Any] | None = None) -> Any:  # noqa: ANN401
        """Return the only value of a query that has one row of one column."""
        return self.rows(query, parameters)[0][0]

    def batches(self, query: str, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query, `size` at a time; run no other statement meanwhile."""
        result = self._connection.execute(query)
        while rows := result.fetchmany(size):
            yield rows

    def write(self, query: str, name: str, *, stays: bool = False, row_bytes: int = 0) -> Path:
        """Write the rows of a query to a Parquet file, streamed.

        Args:
            query: What to write, in its order.
            name: File name in the scratch directory.
            stays: Whether it is compressed, or read once more and then removed.
            row_bytes: Of a row, about, where that may be more than some hundred.
        """
        path = self.directory / name
        fitting = _GROUP_BYTES // max(row_bytes, 1) // _LEAST_ROWS * _LEAST_ROWS
        self.set(written_file=str(path), group_rows=min(max(fitting, _LEAST_ROWS), _MOST_ROWS))
        options = _COMPRESSED if stays else "COMPRESSION uncompressed"
        self._connection.execute(
            f"COPY ({query}) TO (getvariable('written_file')) "
            f"(FORMAT parquet, ROW_GROUP_SIZE (getvariable('group_rows')), {options})"
        )
        return path
