"""Tables in memory on their way to a file, and from a file back to tables.

pandas, Polars and pyarrow are the caller's: a table is known by what it can do, and a package is
imported only where a table of it is asked for.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from isogloss.dataset_options import DatasetOptions
from isogloss.dataset_report import Split
from isogloss.errors import InvalidArgument, MissingPackage, Violation

BATCH_ROWS = 10_000
"""Rows of an Arrow table that are turned into Python's values at a time."""

_PAIR = ("text", "label")


class ArrowStream(Protocol):
    """What exports its rows by the Arrow C stream interface: most tables do."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give the stream in a capsule."""


Table = (
    ArrowStream
    | Iterable[tuple[str | None, str | Sequence[str] | None]]
    | Iterable[Mapping[str, object]]
)
"""A pandas or Polars data frame, an Arrow table, (text, label) pairs, or one mapping a row."""


def write_rows(table: Any, path: Path, *, split: Split, options: DatasetOptions) -> None:  # noqa: ANN401 (see `Table`)
    """Write a table as JSON lines, one a row: a finding's line is then the table's row.

    Args:
        table: See `Table`; lists are several labels. One row at a time is held beside it.
        path: The file.
        split: What the table becomes, for messages.
        options: Where they name the columns of texts and labels, others are not sent.

    Raises:
        InvalidArgument: It is no table, or holds what JSON cannot.
        MissingPackage: Only pyarrow can read such a table.
    """
    names, rows, cells = _rows(table, split)
    taken = _taken(names, options)
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        for number, row in enumerate(rows, start=1):
            try:
                values = cells(row)
                file.write(encode({names[n]: _json(values[n]) for n in taken}) + "\n")
            except (TypeError, ValueError) as error:
                raise _refusal(split, f"row {number} cannot be sent: {error}") from None


_Rows = tuple[Sequence[str], Iterable[Any], Callable[[Any], Sequence[object]]]
"""Names of the columns, the rows, and what makes cells of a row."""


def _rows(table: Any, split: Split) -> _Rows:  # noqa: ANN401 (see `Table`)
    if hasattr(table, "itertuples"):
        return _names(table.columns, split), table.itertuples(index=False, name=None), tuple
    if hasattr(table, "iter_rows"):
        return _names(table.columns, split), table.iter_rows(), tuple
    if hasattr(table, "__arrow_c_stream__"):
        reader = package("pyarrow", "to read this table").RecordBatchReader.from_stream(table)
        return _names(reader.schema.names, split), _arrow_rows(reader), tuple
    try:
        rows: Iterator[Any] = iter(table)
    except TypeError:
        raise _refusal(
            split,
            f"{type(table).__name__} is no table. Give a path, a data frame, an Arrow table, or "
            "(text, label) pairs.",
        ) from None
    first = next(rows, None)
    every = () if first is None else chain([first], rows)
    if isinstance(first, Mapping):
        names = _names(first, split)
        return names, every, partial(_of_mapping, names)
    return _PAIR, every, _of_pair


def _of_pair(row: object) -> Sequence[object]:
    if not isinstance(row, tuple | list) or len(row) != len(_PAIR):
        raise TypeError("it is no (text, label) pair")
    return row


def _of_mapping(names: Sequence[str], row: Mapping[str, object]) -> Sequence[object]:
    if missing := [name for name in names if name not in row]:
        raise TypeError(f"{missing[0]!r} is missing")
    if more := [name for name in row if name not in names]:
        raise TypeError(f"{more[0]!r} is not in the first row")
    return [row[name] for name in names]


def _arrow_rows(reader: Iterable[Any]) -> Iterator[Sequence[object]]:
    for batch in reader:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            columns = batch.slice(start, BATCH_ROWS).columns
            yield from zip(*(column.to_pylist() for column in columns), strict=True)


def _names(columns: Iterable[object], split: Split) -> Sequence[str]:
    names = [str(name) for name in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _refusal(split, f"several columns are named {twice[0]!r}: rename all but one.")
    return names


def _taken(names: Sequence[str], options: DatasetOptions) -> Sequence[int]:
    wanted = [options.text_column, options.label_column, *options.keep_columns]
    wanted += [options.split_column] if options.split_column else []
    if all(name in names for name in wanted):
        return [number for number, name in enumerate(names) if name in wanted]
    return range(len(names))


def _json(value: Any) -> object:  # noqa: ANN401, PLR0911 (any cell to any of JSON's; a case each)
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool | int):
        return value
    if type(value).__name__ in {"NAType", "NaTType"}:  # pandas' own, which equal nothing
        return None
    if isinstance(value, float):
        return None if value != value else value  # noqa: PLR0124 (NaN: a cell without a value)
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return _json(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_json(item) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} is neither text nor label")


def _refusal(split: Split, description: str) -> InvalidArgument:
    return InvalidArgument(
        f"{split}: {description}", violations=[Violation(field=split, description=description)]
    )


def package(name: str, purpose: str, *, beside: str = "") -> ModuleType:
    """Import a package of the caller's.

    Args:
        name: What is imported.
        purpose: What for, such as `to read this table`.
        beside: A package that it needs for this.

    Raises:
        MissingPackage: It is not installed.
    """
    try:
        if beside:
            importlib.import_module(beside)
        return importlib.import_module(name)
    except ImportError:
        needed = f"{name} {beside}".strip()
        raise MissingPackage(
            f"{needed.replace(' ', ' and ')} must be installed {purpose}: pip install {needed}"
        ) from None
