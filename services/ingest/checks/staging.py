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

from collections.abc import Mapping
from pathlib import Path

from services.ingest.dataset import Checked, Limits, RecordLayout, Split
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
  label,
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
  END AS problem,
  COLUMNS(lambda name: starts_with(name, 'kept:') OR name = 'label_length')
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

_STAGED = """
CREATE VIEW staged AS
SELECT
  * EXCLUDE (file_row_number) REPLACE (
    coalesce(row, getvariable('first_rows')[split + 1] + file_row_number) AS row,
    coalesce(line, getvariable('first_lines')[split + 1] + file_row_number) AS line),
  getvariable('bases')[split + 1] + file_row_number AS id
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


class Stages:
    """The Parquet files that together are `staged`, in the order of their rows."""

    def __init__(self, bench: Workbench) -> None:
        """Start without any."""
        self._bench = bench
        self._paths: list[Path] = []
        self._rows = 0
        self._bases = [0] * (2 * len(Split))
        self._first_rows = [1] * len(self._bases)
        self._first_lines = [1] * len(self._bases)

    def add_parent(self, files: Mapping[Split, Path]) -> None:
        """Put the rows of a dataset in front: before any other file is added."""
        for split in files:
            self._bench.set(parent=str(files[split]), split=SPLIT_NUMBERS[split])
            path = self._bench.write(_PARENT, f"parent.{split}.stage.parquet")
            self._append(path, len(Split) + SPLIT_NUMBERS[split])

    def add(self, checked: Checked, limits: Limits) -> None:
        """Append the rows of one uploaded file; its records are removed.

        Args:
            checked: What reading made of it.
            limits: What is too long.

        Raises:
            RuntimeError: Where DuckDB read other rows than were written for it, or in another
                order: a fault of this program, found before it can lose a row or its line.
        """
        number = SPLIT_NUMBERS[checked.split]
        columns, place = _columns(checked.layout)
        # A canonical record may have every quote doubled.
        max_line_size = 2 * limits.max_record_bytes + 1024
        self._bench.set(
            split=number,
            records=str(checked.records),
            positions=str(checked.positions),
            columns=columns,
            place_name=place,
            delimiter=checked.layout.delimiter,
            separator=checked.layout.label_separator,
            max_line_size=max_line_size,
            buffer_size=max(2 * max_line_size, _BUFFER_BYTES),
            max_text_bytes=limits.max_text_bytes,
            max_label_length=limits.max_label_length,
        )
        even = _even_start(checked.positions)
        if even:
            self._first_rows[number], self._first_lines[number] = even
        query = _query(even=even is not None, many=bool(checked.layout.label_separator))
        path = self._bench.write(query, f"{checked.split}.stage.parquet")
        checked.records.unlink()
        rows = self._append(path, number)
        misplaced = 0 if even else self._bench.value(_MISPLACED)
        if rows != checked.rows_kept or misplaced:
            msg = (
                f"{checked.split}: of {checked.rows_kept} rows that were written for DuckDB, it "
                f"read {rows}, {misplaced} of them out of order"
            )
            raise RuntimeError(msg)

    def open(self) -> int:
        """Create the view `staged`; return how many rows it has."""
        self._bench.set(
            stages=[str(path) for path in self._paths],
            bases=self._bases,
            first_rows=self._first_rows,
            first_lines=self._first_lines,
        )
        self._bench.run(_STAGED)
        return self._rows

    def _append(self, path: Path, number: int) -> int:
        self._bench.set(staged_file=str(path))
        rows: int = self._bench.value(_COUNT)
        self._paths.append(path)
        self._bases[number] = self._rows
        self._rows += rows
        return rows


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
