"""Reads the canonical records into Parquet: cleaned, numbered, judged one by one.

The first of DuckDB's passes. It looks at one row at a time; what rows mean to each other is
the business of the other checks.

What follows sees the view `staged`, every row of every file: `id` (its place among all rows),
`split` (the file it stood in), `row` and `line` there, `home` (the split it belongs to), `text`,
`label` (sorted and joined by the unit separator where there can be several), `key` (a hash of the
text), `problem` (what drops it, or ''), what cleaning left, and `kept:...`, the columns carried
along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from services.ingest.checks import cleaning_rows
from services.ingest.dataset import Limits, RecordLayout, Records, Split
from services.ingest.workbench import Workbench

SPLIT_NUMBERS = {split: number for number, split in enumerate(Split)}
"""Splits are numbers in SQL: 0 train, 1 validation, 2 test. Rows of a parent count on from 3."""

UNIT_SEPARATOR = "\x1f"
"""What stands between the labels of one row in SQL; no label can hold it."""

_BUFFER_BYTES = 8 << 20
"""How much DuckDB reads at once: with so little, what it reads stays in the processor's cache."""

_RECORDS = r"""
WITH raw AS (
  SELECT
    COLUMNS(lambda name: name IN ('raw_text', 'raw_label') OR starts_with(name, 'kept:')),
    COLUMNS(lambda name: name = getvariable('place_name')) AS raw_place
  FROM read_csv(
    getvariable('records'), header = false, auto_detect = false,
    columns = getvariable('columns'),
    delim = getvariable('delimiter'), quote = '"', escape = '"', new_line = '\n',
    strict_mode = true, nullstr = getvariable('nullstr'),
    max_line_size = getvariable('max_line_size'), buffer_size = getvariable('buffer_size'))
),
"""

# Nothing was passed over between two records: their numbers follow from the place in the file,
# and DuckDB may read with all its threads.
_EVEN = """
numbered AS (SELECT *, NULL::BIGINT AS row, NULL::BIGINT AS line FROM raw)
"""

# The windows have no order of their own: they follow that of the file, which lets DuckDB stream
# (an ASOF join would sort all texts). `_MISPLACED` proves afterwards that it did.
_UNEVEN = """
positions AS (
  SELECT * FROM read_csv(
    getvariable('positions'), header = false, auto_detect = false,
    columns = {'n': 'BIGINT', 'rows': 'BIGINT', 'lines': 'BIGINT'})
),
counted AS (SELECT row_number() OVER () - 1 AS n, * FROM raw),
numbered AS (
  SELECT
    * EXCLUDE (n, rows, lines),
    (n + sum(coalesce(rows, 0)) OVER sofar)::BIGINT AS row,
    (n + sum(coalesce(lines, 0)) OVER sofar)::BIGINT AS line
  FROM counted LEFT JOIN positions USING (n)
  WINDOW sofar AS (ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
"""

_ONE_LABEL = """
, labelled AS (
  SELECT
    *,
    marked_label(raw_label) AS label_mark,
    marked_result(raw_label, label_mark) AS label,
    marks(raw_label, label_mark) AS label_marks,
    length(label) AS label_length
  FROM numbered
)
"""
_ANY_LABELS = """
, listed AS (
  SELECT
    *,
    list_transform(
      string_split(raw_label, getvariable('separator')),
      lambda one: marked_result(one, marked_label(one))) AS cells,
    list_sort(list_distinct(list_filter(cells, lambda one: one <> ''))) AS labels
  FROM numbered
),
labelled AS (
  SELECT
    * EXCLUDE (cells, labels),
    array_to_string(labels, chr(31)) AS label,
    0::USMALLINT AS label_marks,
    coalesce(list_max(list_transform(labels, lambda one: length(one))), 0) AS label_length
  FROM listed
)
"""

_JUDGED = """
, marked AS (SELECT *, marked_text(raw_text) AS text_mark FROM labelled),
cleaned AS (
  SELECT
    *,
    marked_result(raw_text, text_mark) AS text,
    marks(raw_text, text_mark) AS text_marks,
    if(text_marks > 3, left(raw_text, 200), NULL) AS before
  FROM marked
),
placed AS (
  SELECT
    *,
    CASE
      WHEN getvariable('place_name') = 'raw_text' THEN getvariable('split')
      WHEN lower(trim(raw_place)) IN ('train', 'training') THEN 0
      WHEN lower(trim(raw_place)) IN ('validation', 'valid', 'val', 'dev') THEN 1
      WHEN lower(trim(raw_place)) IN ('test', 'testing') THEN 2
    END::UTINYINT AS home
  FROM cleaned
)
SELECT
  getvariable('split')::UTINYINT AS split,
  row,
  line,
  home,
  text,
  COLUMNS(lambda name: name = 'label' OR starts_with(name, 'kept:')),
  hash(text) AS key,
  text_marks,
  label_marks,
  before,
  if(home IS NULL, left(raw_place, 100), NULL) AS unknown_place,
  CASE
    WHEN home IS NULL THEN 'unknown_split'
    WHEN text = '' THEN 'empty_text'
    WHEN label = '' AND getvariable('separator') = '' THEN 'empty_label'
    WHEN strlen(text) > getvariable('max_text_bytes') THEN 'text_too_long'
    WHEN label_length > getvariable('max_label_length') THEN 'label_too_long'
    ELSE ''
  END AS problem
FROM placed
"""

# The rows of a parent were judged when it was made.
_PARENT = r"""
WITH kept AS (
  SELECT COLUMNS('.*') AS 'kept:\0', text, labels, row, line
  FROM read_parquet(getvariable('parent'))
)
SELECT
  (3 + getvariable('split'))::UTINYINT AS split,
  row,
  line,
  getvariable('split')::UTINYINT AS home,
  text,
  array_to_string(labels, chr(31)) AS label,
  hash(text) AS key,
  0::USMALLINT AS text_marks,
  0::USMALLINT AS label_marks,
  NULL::VARCHAR AS before,
  NULL::VARCHAR AS unknown_place,
  '' AS problem,
  * EXCLUDE (
    text, labels, row, line,
    "kept:text", "kept:labels", "kept:row", "kept:line", "kept:group")
FROM kept
"""

_PARENT_BYTES = """
SELECT coalesce(sum(total_uncompressed_size) // max(file_rows), 0)::BIGINT
FROM parquet_metadata(getvariable('parent')),
  (SELECT num_rows AS file_rows FROM parquet_file_metadata(getvariable('parent')))
"""

_STAGED = """
CREATE VIEW staged AS
SELECT
  * EXCLUDE (file_row_number) REPLACE (
    coalesce(row, getvariable('first_rows')[file_index::BIGINT + 1] + file_row_number) AS row,
    coalesce(line, getvariable('first_lines')[file_index::BIGINT + 1] + file_row_number) AS line),
  getvariable('bases')[file_index::BIGINT + 1] + file_row_number AS id
FROM read_parquet(getvariable('stages'), union_by_name = true, file_row_number = true)
"""

_MISPLACED = """
SELECT count(*) FILTER (row <= row_before OR line <= line_before)
FROM (
  SELECT row, line, lag(row) OVER () AS row_before, lag(line) OVER () AS line_before
  FROM read_parquet(getvariable('staged_file'))
)
"""
_COUNT = "SELECT count(*) FROM read_parquet(getvariable('staged_file'))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A Parquet file of staged rows."""

    path: Path
    split: int
    """As rows have it."""

    rows: int
    first_row: int = 1
    """Where no row of it says which it is, the first one is this, and the others follow."""

    first_line: int = 1

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, about: it is not compressed."""
        return self.path.stat().st_size // max(self.rows, 1)


def stage_parent(bench: Workbench, split: Split, file: Path) -> Stage:
    """Stage the rows of a split that a dataset has already."""
    bench.set(parent=str(file), split=SPLIT_NUMBERS[split])
    path = bench.write(
        _PARENT, f"parent.{split}.stage.parquet", row_bytes=bench.value(_PARENT_BYTES)
    )
    return Stage(path=path, split=len(Split) + SPLIT_NUMBERS[split], rows=_count(bench, path))


def stage_records(bench: Workbench, records: Records, limits: Limits) -> Stage:
    """Stage the rows of an uploaded file, or a run of them; the records are removed.

    Args:
        bench: Prepared by `cleaning_rows`.
        records: What reading made of them.
        limits: What is too long.

    Raises:
        RuntimeError: Where DuckDB read other rows than were written for it, or in another
            order: a fault of this program, found before it can lose a row or its line.
    """
    layout = records.layout
    columns, place = _columns(layout)
    # A canonical record may have every quote doubled.
    max_line_size = 2 * limits.max_record_bytes + 1024
    bench.set(
        split=SPLIT_NUMBERS[records.split],
        records=str(records.path),
        positions=str(records.positions),
        columns=columns,
        place_name=place,
        delimiter=layout.delimiter,
        separator=layout.label_separator,
        max_line_size=max_line_size,
        buffer_size=max(2 * max_line_size, _BUFFER_BYTES),
        max_text_bytes=limits.max_text_bytes,
        max_label_length=limits.max_label_length,
    )
    cleaning_rows.set_file(bench, records.path, count=records.count)
    even = _even_start(records.positions)
    query = _query(even=even is not None, many=bool(layout.label_separator))
    path = bench.write(
        query,
        records.path.with_suffix(".stage.parquet").name,
        row_bytes=records.path.stat().st_size // max(records.count, 1),
    )
    rows = _count(bench, path)
    misplaced = 0 if even else bench.value(_MISPLACED)
    if rows != records.count or misplaced:
        msg = (
            f"{records.split}: of {records.count} rows that were written for DuckDB, it read "
            f"{rows}, {misplaced} of them out of order"
        )
        raise RuntimeError(msg)
    records.path.unlink()
    records.positions.unlink()
    first_row, first_line = even or (1, 1)
    return Stage(
        path=path,
        split=SPLIT_NUMBERS[records.split],
        rows=rows,
        first_row=first_row,
        first_line=first_line,
    )


def open_staged(bench: Workbench, stages: Sequence[Stage]) -> int:
    """Create the view `staged` of all stages, in order; return how many rows it has."""
    _show(bench, stages)
    bench.run(_STAGED)
    return sum(stage.rows for stage in stages)


def each(bench: Workbench, stages: Sequence[Stage]) -> Iterator[int]:
    """Yield the number of each stage; meanwhile `staged` has the rows of that one alone.

    What joins whole rows to others stays in memory so. Ids are as ever; those of the stage's first
    and last row are the variables `first_id` and `last_id`.

    Args:
        bench: With `staged`.
        stages: All that are in it.
    """
    first = 0
    for number, stage in enumerate(stages):
        _show(bench, [stage], first)
        bench.set(first_id=first, last_id=first + stage.rows - 1)
        yield number
        first += stage.rows
    _show(bench, stages)


def _show(bench: Workbench, stages: Sequence[Stage], first: int = 0) -> None:
    bench.set(
        stages=[str(stage.path) for stage in stages],
        bases=[*accumulate((stage.rows for stage in stages), initial=first)],
        first_rows=[stage.first_row for stage in stages],
        first_lines=[stage.first_line for stage in stages],
    )


def _count(bench: Workbench, path: Path) -> int:
    bench.set(staged_file=str(path))
    count: int = bench.value(_COUNT)
    return count


def _columns(layout: RecordLayout) -> tuple[dict[str, str], str]:
    """Return the columns for DuckDB, and the name of the one that says where a row belongs."""
    names = [f"unused:{position}" for position in range(layout.columns)]
    for name, position in layout.kept:
        names[position] = f"kept:{name}"
    names[layout.text], names[layout.labels] = "raw_text", "raw_label"
    place = "raw_text" if layout.split is None else names[layout.split]
    return dict.fromkeys(names, "VARCHAR"), place


def _even_start(positions: Path) -> tuple[int, int] | None:
    """Return row and line of the first record where each other has the next ones."""
    with positions.open() as file:
        lines = [file.readline(), file.readline()]
    if lines[1]:
        return None
    n, row, line = (int(number) for number in (lines[0] or "0,1,1").split(","))
    return (row, line) if n == 0 else None


def _query(*, even: bool, many: bool) -> str:
    parts = (_RECORDS, _EVEN if even else _UNEVEN, _ANY_LABELS if many else _ONE_LABEL, _JUDGED)
    return "".join(parts)
