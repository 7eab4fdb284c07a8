"""Says why rows were dropped or are suspicious, and brings all findings into one file and order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.ingest.checks.labels import left_labels
from services.ingest.checks.staging import Stage, each
from services.ingest.dataset import FindingCount, Limits, Split
from services.ingest.finding import FindingWriter
from services.ingest.workbench import Workbench

_PLACE = r"""
CREATE MACRO place(other_split, other_line, split) AS CASE
  WHEN other_split > 2 THEN format('line {} of the {} file that {} was made of', other_line,
    getvariable('split_names')[other_split - 2], getvariable('parent_name'))
  WHEN other_split = split THEN format('line {}', other_line)
  ELSE format('line {} of the {} file', other_line, getvariable('split_names')[other_split + 1])
END
"""

# A row is in one of the three at most: it has a problem of its own, broke a rule, or was kept and
# is like another. Together they read the texts once, one stage at a time: where too many rows for
# memory are told of, a join would write all texts to the disk and read them again.
_JUDGED = r"""
WITH named AS (
  SELECT
    staged.*, code, severity, number, other_line, other_label,
    place(other_split, other_line, staged.split) AS place
  FROM staged JOIN (
    SELECT id, code, 3 AS severity, number, other_split, other_line, other_label
    FROM dropped WHERE id BETWEEN getvariable('first_id') AND getvariable('last_id')
    UNION ALL BY NAME
    SELECT id, problem AS code, 3 AS severity FROM staged WHERE problem <> ''
    UNION ALL BY NAME
    SELECT
      id, code, 2 AS severity,
      other.split AS other_split, other.line AS other_line, other.label AS other_label
    FROM near_rows ANTI JOIN dropped USING (id)
    WHERE id BETWEEN getvariable('first_id') AND getvariable('last_id')
  ) AS why USING (id)
)
SELECT
  split, line, row,
  CASE
    WHEN code IN ('empty_label', 'label_too_long', 'rare_label', 'unseen_label') THEN 'label'
    WHEN code = 'unknown_split' THEN ''
    ELSE 'text'
  END AS "column",
  code,
  severity,
  CASE code
    WHEN 'unknown_split' THEN format('"{}" is not the name of a split.', unknown_place)
    WHEN 'empty_text' THEN 'The text is empty.'
    WHEN 'empty_label' THEN 'The label is empty.'
    WHEN 'text_too_long' THEN format(
      'The text has {} bytes, more than {}.', strlen(text), getvariable('max_text_bytes'))
    WHEN 'label_too_long' THEN format('The label has {} characters, more than {}.',
      list_max(list_transform(string_split(label, chr(31)), lambda one: length(one))),
      getvariable('max_label_length'))
    WHEN 'duplicate' THEN format('The same text with the same label stands on {}.', place)
    WHEN 'conflicting_labels' THEN format(
      'The same text stands on {} with the label "{}"; here it has "{}".',
      place, replace(other_label, chr(31), '", "'), replace(label, chr(31), '", "'))
    WHEN 'split_leakage' THEN format('The text also stands on {}: scores would be too good.', place)
    WHEN 'near_duplicate_dropped' THEN format('A text that differs in little stands on {}.', place)
    WHEN 'near_leakage_dropped' THEN format(
      'A text that differs in little stands on {}: scores would be too good.', place)
    WHEN 'near_leakage'
      THEN format('A text that differs in little stands on {}: scores may be too good.', place)
    WHEN 'near_duplicate' THEN if(
      other_label = label,
      format('A text that differs in little stands on {}.', place),
      format('A text that differs in little stands on {} with the label "{}"; here it has "{}".',
        place, replace(other_label, chr(31), '", "'), replace(label, chr(31), '", "')))
    WHEN 'rare_label' THEN format(
      'The label "{}" has {} unique training examples, at least {} are needed.',
      label, number, getvariable('min_per_label'))
    WHEN 'unseen_label' THEN format(
      'The label "{}" is not among the labels of the training rows.', label)
  END AS message,
  left(if(code IN ('empty_text', 'label_too_long'), label, text), 200) AS excerpt,
  CASE code
    WHEN 'unknown_split' THEN 'Write train, validation or test.'
    WHEN 'empty_text' THEN 'Write a text, or remove the row.'
    WHEN 'empty_label' THEN 'Write a label into its column, or remove the row.'
    WHEN 'text_too_long' THEN 'Shorten the text or cut it into several rows.'
    WHEN 'label_too_long'
      THEN 'Shorten the label. If this is the text, name the columns: text_column, label_column.'
    WHEN 'duplicate' THEN 'Nothing to do: the first one is kept.'
    WHEN 'conflicting_labels' THEN 'Decide which label is right; the first one was kept.'
    WHEN 'rare_label' THEN 'Add examples of this label, or merge it with another.'
    WHEN 'unseen_label' THEN 'Add training examples of this label, or correct it.'
    WHEN 'near_duplicate_dropped' THEN 'Nothing to do: the first one is kept.'
    WHEN 'near_leakage' THEN 'Remove one of them, or set near_duplicates to drop.'
    WHEN 'near_duplicate'
      THEN 'Remove one of them, set near_duplicates to drop, or keep both if both are wanted.'
    ELSE 'Nothing to do: it stays there and was removed here.'
  END AS fix,
  1 AS count
FROM named
"""

_TAKEN_OUT = r"""
SELECT
  split, line, row, 'label' AS "column", 'rare_label_removed' AS code, 2 AS severity,
  format('Labels with too few unique training examples were taken out: "{}".',
    array_to_string(list_filter(string_split(label, chr(31)),
      lambda one: one <> '' AND NOT list_contains(getvariable('left_labels'), one)), '", "'))
    AS message,
  left(text, 200) AS excerpt,
  'Add training examples of these labels, or merge them with others; the row was kept.' AS fix,
  1 AS count
FROM staged SEMI JOIN (
  FROM relabelled WHERE id BETWEEN getvariable('first_id') AND getvariable('last_id')
) USING (id)
"""

_WRITTEN = r"""
SELECT
  (list_position(getvariable('split_names'), split) - 1)::UTINYINT AS split,
  * EXCLUDE (split)
FROM read_csv(
  getvariable('written'), header = false, auto_detect = false,
  delim = ',', quote = '"', escape = '"', new_line = '\n', nullstr = getvariable('nullstr'),
  columns = {'split': 'VARCHAR', 'line': 'BIGINT', 'row': 'BIGINT', 'column': 'VARCHAR',
    'code': 'VARCHAR', 'severity': 'INTEGER', 'message': 'VARCHAR', 'excerpt': 'VARCHAR',
    'fix': 'VARCHAR', 'count': 'BIGINT'})
"""

_IN_ORDER = """
SELECT
  coalesce(getvariable('split_names')[file + 1], '') AS split,
  line, row, "column", code, severity::INTEGER AS severity, message, excerpt, fix,
  count::BIGINT AS count
FROM (SELECT * EXCLUDE (split), split AS file FROM read_parquet(getvariable('found')))
ORDER BY file NULLS FIRST, line, row, code, message
"""


_COUNTED = """
SELECT code, severity, count(*) FROM read_parquet(getvariable('collected'))
GROUP BY ALL ORDER BY severity DESC, count(*) DESC, code
"""


def explain(bench: Workbench, stages: Sequence[Stage], limits: Limits) -> None:
    """Write a finding for each row that was dropped, is like another, or has lost labels.

    Args:
        bench: With `staged`, `dropped`, `near_rows`, `relabelled` and the label counts.
        stages: All that are in `staged`.
        limits: What was too long.
    """
    bench.set(
        split_names=[str(split) for split in Split],
        max_text_bytes=limits.max_text_bytes,
        max_label_length=limits.max_label_length,
    )
    bench.run(_PLACE)
    some_lost_labels = bench.value("SELECT count(*) > 0 FROM relabelled")
    if some_lost_labels:
        bench.set(left_labels=left_labels(bench))
    for number in each(bench, stages):
        bench.write(_JUDGED, f"judged.{number}.findings.parquet")
        if some_lost_labels:
            bench.write(_TAKEN_OUT, f"relabelled.{number}.findings.parquet")


def collect(bench: Workbench, findings: FindingWriter) -> tuple[Path, tuple[FindingCount, ...]]:
    """Bring the findings of all checks, those about no file first, into one order and one file.

    Args:
        bench: Its directory holds `*.findings.parquet`.
        findings: What was written one by one.

    Returns:
        The file, and how often each code is in it.
    """
    findings.flush()
    bench.set(written=str(findings.path), split_names=[str(split) for split in Split])
    bench.write(_WRITTEN, "written.findings.parquet")
    bench.set(found=[str(path) for path in sorted(bench.directory.glob("*.findings.parquet"))])
    path = bench.write(_IN_ORDER, "findings.parquet", stays=True)
    bench.set(collected=str(path))
    counts = tuple(
        FindingCount(code=code, severity=severity, count=count)
        for code, severity, count in bench.rows(_COUNTED)
    )
    return path, counts
