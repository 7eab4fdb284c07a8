"""What rows mean to each other: duplicates, contradictions, leakage between splits.

Each rule names the rows it drops, with what there is to say of them, in the table `dropped`.
`remaining` is what no rule has dropped so far. Texts are compared by their hashes; only where
two texts have one hash are they compared themselves.
"""

from __future__ import annotations

from services.ingest.dataset import Overlap, Split
from services.ingest.workbench import Workbench

_PREPARE = (
    # What a finding says besides the row itself: where the other row stands, and its label.
    """
CREATE TABLE dropped (
  id BIGINT, code VARCHAR, other_split UTINYINT, other_line BIGINT, other_label VARCHAR,
  number BIGINT)
""",
    "CREATE VIEW valid AS SELECT * FROM staged WHERE problem = ''",
    "CREATE VIEW remaining AS SELECT * FROM valid ANTI JOIN dropped USING (id)",
)

# Only texts that stand more than once can break these rules. Usually they are few.
_REPEATED = """
CREATE TABLE repeated AS SELECT key FROM valid GROUP BY key HAVING count(*) > 1
"""
_COPIED = """
CREATE TABLE copied AS
SELECT id, split, line, home, label, key, text FROM valid SEMI JOIN repeated USING (key)
"""
_COLLIDED = """
CREATE TABLE collided AS SELECT key FROM copied GROUP BY key HAVING min(text) <> max(text)
"""
_COPIES = """
CREATE VIEW copies AS
SELECT * EXCLUDE (text), if(key IN (FROM collided), text, '') AS variant FROM copied
"""

# A row of the parent stays whatever comes later; its copies are dropped wherever they stand.
_DROP_COPIES = """
INSERT INTO dropped
WITH placed AS (
  SELECT
    *,
    row_number() OVER here AS occurrence,
    first_value(struct_pack(split, line, label)) OVER here AS first_here,
    first_value(struct_pack(split, line, label)) OVER everywhere AS first_anywhere,
    max(home) OVER everywhere_unordered AS last_home,
    arg_max(struct_pack(split, line, label), home) OVER everywhere_unordered AS last
  FROM copies
  WINDOW
    here AS (PARTITION BY key, variant, home ORDER BY id),
    everywhere AS (PARTITION BY key, variant ORDER BY id),
    everywhere_unordered AS (PARTITION BY key, variant)
),
compared AS (
  SELECT
    *,
    CASE
      WHEN first_anywhere.split > 2 THEN first_anywhere
      WHEN occurrence > 1 THEN first_here
      ELSE last
    END AS other,
    first_anywhere.split > 2 OR occurrence > 1 AS is_copy
  FROM placed
  WHERE split <= 2 AND (first_anywhere.split > 2 OR occurrence > 1 OR home < last_home)
)
SELECT
  id,
  CASE
    WHEN NOT is_copy THEN 'split_leakage'
    WHEN label = other.label THEN 'duplicate'
    ELSE 'conflicting_labels'
  END,
  other.split, other.line, other.label, NULL
FROM compared
"""

_OVERLAPS = """
WITH homes AS (SELECT DISTINCT key, variant, home FROM copies)
SELECT a.home, b.home, count(*)
FROM homes AS a JOIN homes AS b USING (key, variant)
WHERE a.home < b.home
GROUP BY ALL ORDER BY ALL
"""

_CLEAR = ("DROP VIEW copies", "DROP TABLE copied", "DROP TABLE collided", "DROP TABLE repeated")


def prepare(bench: Workbench) -> None:
    """Create `dropped`, and the views `valid` and `remaining`, over `staged`."""
    for statement in _PREPARE:
        bench.run(statement)


def drop_copies(bench: Workbench) -> tuple[Overlap, ...]:
    """Drop duplicates, contradictions, and rows that a later split holds too.

    Returns:
        How many texts each two splits had in common.
    """
    bench.run(_REPEATED)
    if not bench.value("SELECT count(*) FROM repeated"):
        return ()
    for statement in (_COPIED, _COLLIDED, _COPIES, _DROP_COPIES):
        bench.run(statement)
    splits = list(Split)
    overlaps = tuple(
        Overlap(first=splits[first], second=splits[second], exact=count)
        for first, second, count in bench.rows(_OVERLAPS)
    )
    for statement in _CLEAR:
        bench.run(statement)
    return overlaps
