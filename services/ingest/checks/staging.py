"""Reads the canonical records into Parquet: cleaned, numbered, judged one by one.

The first of DuckDB's passes. It looks at one row at a time; what rows mean to each other is
the business of `rules`.
"""

from __future__ import annotations

from services.ingest.dataset import Checked, Limits, Split
from services.ingest.finding import Code, Finding
from services.ingest.workbench import Workbench

SPLIT_NUMBERS = {split: number for number, split in enumerate(Split)}
"""Splits are numbers in SQL: 0 train, 1 validation, 2 test."""

# White space of Unicode and what has no width: nobody sees it at the ends of a text.
_BLANKS = "".join(
    chr(code)
    for code in (
        *range(0x09, 0x0E),
        0x20,
        0x85,
        0xA0,
        0x1680,
        *range(0x2000, 0x2010),
        0x2028,
        0x2029,
        0x202F,
        0x205F,
        0x2060,
        0x3000,
        0xFEFF,
    )
)

# The windows have no order of their own: they follow that of the file, which lets DuckDB stream
# (an ASOF join would sort all texts). `_IN_ORDER` proves afterwards that it did.
#
# Printable ASCII without blanks at its ends is a fixed point of both cleaning steps, and
# nearly all texts are: the predicate is three times faster than what it saves.
_STAGE = r"""
WITH raw AS (
  SELECT
    row_number() OVER () - 1 AS n,
    if(getvariable('text_first'), a, b) AS text,
    if(getvariable('text_first'), b, a) AS label
  FROM read_csv(
    getvariable('records'), header = false, auto_detect = false,
    columns = {'a': 'VARCHAR', 'b': 'VARCHAR'},
    delim = getvariable('delimiter'), quote = '"', escape = '"', new_line = '\n',
    strict_mode = true, nullstr = getvariable('nullstr'),
    max_line_size = getvariable('max_line_size'))
),
trimmed AS (
  SELECT
    n,
    text AS raw_text,
    label AS raw_label,
    regexp_full_match(text, '[!-~]([\x00-\x7F]*[!-~])?') AS plain,
    if(plain, text, trim(text, getvariable('blanks'))) AS trimmed_text,
    trim(label, getvariable('blanks')) AS trimmed_label
  FROM raw
),
cleaned AS (
  SELECT
    n,
    if(plain, raw_text, nfc_normalize(trimmed_text)) AS text,
    nfc_normalize(trimmed_label) AS label,
    trimmed_text <> raw_text OR trimmed_label <> raw_label AS was_trimmed,
    text <> trimmed_text OR label <> trimmed_label AS was_composed
  FROM trimmed
),
positions AS (
  SELECT * FROM read_csv(
    getvariable('positions'), header = false, auto_detect = false,
    columns = {'n': 'BIGINT', 'rows': 'BIGINT', 'lines': 'BIGINT'})
),
placed AS (
  SELECT
    *,
    n + sum(coalesce(rows, 0)) OVER sofar AS row,
    n + sum(coalesce(lines, 0)) OVER sofar AS line
  FROM cleaned LEFT JOIN positions USING (n)
  WINDOW sofar AS (ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
SELECT
  getvariable('split')::UTINYINT AS split,
  row::BIGINT AS row,
  line::BIGINT AS line,
  text,
  label,
  was_trimmed,
  was_composed,
  CASE
    WHEN text = '' THEN 'empty_text'
    WHEN label = '' THEN 'empty_label'
    WHEN strlen(text) > getvariable('max_text_bytes') THEN 'text_too_long'
    WHEN length(label) > getvariable('max_label_length') THEN 'label_too_long'
    ELSE ''
  END AS problem
FROM placed
"""

_IN_ORDER = """
SELECT count(*), count(*) FILTER (row <= row_before OR line <= line_before)
FROM (
  SELECT row, line, lag(row) OVER () AS row_before, lag(line) OVER () AS line_before
  FROM read_parquet(getvariable('staged'))
)
"""

_SINGLE_ROW_FINDINGS = """
SELECT
  split, line, row,
  if(problem IN ('empty_text', 'text_too_long'), 'text', 'label') AS "column",
  problem AS code,
  CASE problem
    WHEN 'empty_text' THEN 'The text is empty.'
    WHEN 'empty_label' THEN 'The label is empty.'
    WHEN 'text_too_long' THEN format(
      'The text has {} bytes, more than {}.', strlen(text), getvariable('max_text_bytes'))
    ELSE format('The label has {} characters, more than {}.',
      length(label), getvariable('max_label_length'))
  END AS message,
  CASE problem WHEN 'empty_text' THEN label WHEN 'label_too_long' THEN label ELSE text END
    AS excerpt,
  CASE problem
    WHEN 'empty_text' THEN 'Write a text, or remove the row.'
    WHEN 'empty_label' THEN 'Write a label after the delimiter, or remove the row.'
    WHEN 'text_too_long' THEN 'Shorten the text or cut it into several rows.'
    ELSE 'Shorten the label. Is this the text column? Text comes first, the label second.'
  END AS fix
FROM staged WHERE problem <> ''
"""


def stage(bench: Workbench, *, split: Split, checked: Checked, limits: Limits) -> None:
    """Write the rows of one file to `{split}.stage.parquet`.

    Columns: split, row, line, text, label, was_trimmed, was_composed, problem ('' or a code).

    Args:
        bench: Where to.
        split: Which file.
        checked: What the front check made of it.
        limits: What is too long.

    Raises:
        RuntimeError: Where DuckDB read other rows than the front check wrote, or in another
            order: a fault of this program, found before it can lose a row or its line.
    """
    bench.set(
        split=SPLIT_NUMBERS[split],
        records=str(checked.records),
        positions=str(checked.positions),
        delimiter=checked.layout.delimiter,
        text_first=checked.layout.text == 0,
        blanks=_BLANKS,
        # A canonical record may have every quote doubled.
        max_line_size=2 * limits.max_record_bytes + 1024,
        max_text_bytes=limits.max_text_bytes,
        max_label_length=limits.max_label_length,
    )
    path = bench.write(_STAGE, f"{split}.stage.parquet")
    bench.set(staged=str(path))
    checked.records.unlink()
    ((count, misplaced),) = bench.rows(_IN_ORDER)
    if count != checked.rows_kept or misplaced:
        msg = (
            f"{split}: of {checked.rows_kept} rows that were written for DuckDB, it read {count}, "
            f"{misplaced} of them out of order"
        )
        raise RuntimeError(msg)


def open_stages(bench: Workbench) -> None:
    """Create the views `staged` (all rows of all files) and `valid` (rows without a problem)."""
    bench.set(stages=str(bench.directory / "*.stage.parquet"))
    bench.run("CREATE VIEW staged AS SELECT * FROM read_parquet(getvariable('stages'))")
    bench.run(
        "CREATE VIEW valid AS SELECT split, row, line, text, label FROM staged WHERE problem = ''"
    )


def single_row_findings() -> str:
    """Return the query of what is wrong with rows taken by themselves."""
    return _SINGLE_ROW_FINDINGS


def cleaning_findings(bench: Workbench) -> list[Finding]:
    """Return one note for each file of which rows were cleaned."""
    counts = bench.rows(
        "SELECT split, count(*) FILTER (was_trimmed), count(*) FILTER (was_composed) "
        "FROM staged GROUP BY split ORDER BY split"
    )
    splits = list(Split)
    return [
        Finding(
            code=Code.CLEANED,
            message=f"Blanks around text or label were removed in {trimmed} rows, and Unicode "
            f"was composed (NFC) in {composed} rows.",
            split=splits[number],
            count=max(trimmed, composed),
        )
        for number, trimmed, composed in counts
        if trimmed or composed
    ]
