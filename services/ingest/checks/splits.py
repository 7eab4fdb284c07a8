"""Deals out training rows for the held-out splits that were not uploaded.

Stratified by label. What is dealt out is a unit: a row, or a group of rows that differ in little.
A unit's place depends on the seed and its texts alone, not on the order of rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from services.ingest.dataset import Split, SplitOptions
from services.ingest.finding import Code, Finding
from services.ingest.workbench import Workbench

# Rows that are close to one of a parent belong where that stands.
_ANCHORED = """
CREATE TABLE anchored AS
SELECT id, anchors.home AS home
FROM remaining JOIN near USING (id)
JOIN (
  SELECT "group", arg_min(home, id) AS home
  FROM remaining JOIN near USING (id) WHERE split > 2 GROUP BY "group"
) AS anchors USING ("group")
WHERE remaining.home = 0 AND split <= 2
"""
_MOVE_ANCHORED = "INSERT INTO moved SELECT id, home FROM anchored WHERE home > 0"

_DEALABLE = """
CREATE VIEW dealable AS
SELECT id, label, key, "group"
FROM remaining ANTI JOIN anchored USING (id) LEFT JOIN near USING (id)
WHERE home = 0 AND split <= 2
"""

# Where a text has several labels, the rarest decides. Each held-out split gets at least one row of
# a label that has five, and training always one.
#
# Places are uniform, so that rows below `reach` are as many as are wanted, and eight standard
# deviations more: the others need not be sorted.
_STRATA = """
CREATE TABLE strata AS
WITH sets AS (
  SELECT label, count(*) AS rows, count(*) FILTER ("group" IS NULL) AS singles
  FROM dealable GROUP BY label
),
each AS (
  SELECT
    label,
    unnest(if(getvariable('multi_label'), string_split(label, chr(31)), [label])) AS one
  FROM sets
),
rarest AS (
  SELECT each.label, arg_min(one, (coalesce(examples, 0), one)) AS stratum
  FROM each LEFT JOIN labels ON one = labels.label GROUP BY each.label
),
sized AS (
  SELECT
    label, stratum,
    sum(rows) OVER (PARTITION BY stratum)::BIGINT AS size,
    sum(singles) OVER (PARTITION BY stratum)::BIGINT AS singles
  FROM sets JOIN rarest USING (label)
),
wanted AS (
  SELECT
    *,
    if(getvariable('test_share') = 0, 0,
      greatest(round(size * getvariable('test_share'))::BIGINT, if(size >= 5, 1, 0))) AS tests,
    if(getvariable('validation_share') = 0, 0,
      greatest(round(size * getvariable('validation_share'))::BIGINT, if(size >= 5, 1, 0)))
      AS validations
  FROM sized
),
allowed AS (
  SELECT * REPLACE (
    least(tests, size - 1) AS tests,
    least(validations, greatest(size - 1 - tests, 0)) AS validations)
  FROM wanted
)
SELECT
  label, dense_rank() OVER (ORDER BY stratum) AS stratum, size, tests, validations,
  (tests + validations + 8 * sqrt(tests + validations) + 16) / greatest(singles, 1) AS reach
FROM allowed
"""

_CANDIDATES = """
CREATE TABLE candidates AS
WITH units AS (
  SELECT "group", min(key) AS key FROM dealable WHERE "group" IS NOT NULL GROUP BY "group"
),
placed AS (
  SELECT
    id, label, "group",
    coalesce("group", id) AS unit,
    hash(coalesce(units.key, dealable.key), getvariable('seed')) AS place
  FROM dealable LEFT JOIN units USING ("group")
)
SELECT id, unit, "group" IS NOT NULL AS is_grouped, place, stratum, size, tests, validations
FROM placed JOIN strata USING (label)
WHERE "group" IS NOT NULL OR (place >> 11) / 9007199254740992.0 < reach
"""

# A unit that alone is more than half of what is wanted stays in training, unless its label has no
# other: then the smallest is taken, if it leaves half of the label for training.
_DEAL = """
INSERT INTO moved
WITH grouped AS (
  SELECT
    unit,
    any_value(place) AS place,
    count(*) AS weight,
    min(struct_pack(size, stratum, tests, validations)) AS label
  FROM candidates WHERE is_grouped GROUP BY unit
),
units AS (
  SELECT unit, place, weight, true AS is_grouped, unnest(label) FROM grouped
  UNION ALL BY NAME
  SELECT unit, place, 1 AS weight, is_grouped, size, stratum, tests, validations
  FROM candidates WHERE NOT is_grouped
),
sized AS (
  SELECT
    unit, place, weight, is_grouped,
    weight > greatest((tests + validations) / 2, 1) AS is_bulky,
    stratum, size, tests, validations
  FROM units
),
ranked AS (
  SELECT *, sum(weight) OVER ordered AS so_far, row_number() OVER ordered AS number
  FROM sized
  WINDOW ordered AS (
    PARTITION BY stratum ORDER BY is_bulky, if(is_bulky, weight, 0), place, unit
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
dealt AS (
  SELECT
    unit,
    is_grouped,
    CASE
      WHEN so_far <= tests THEN 2
      WHEN number = 1 AND tests > 0 AND 2 * weight <= size THEN 2
      WHEN so_far <= tests + validations THEN 1
      WHEN number <= if(tests > 0, 2, 1) AND validations > 0 AND 2 * so_far <= size THEN 1
      ELSE 0
    END::UTINYINT AS home
  FROM ranked
)
SELECT unit AS id, home FROM dealt WHERE home > 0 AND NOT is_grouped
UNION ALL
SELECT id, home FROM candidates JOIN dealt USING (unit, is_grouped) WHERE home > 0 AND is_grouped
"""


def deal_out(bench: Workbench, *, given: Collection[Split], options: SplitOptions) -> bool:
    """Create the table `moved` (id, home): training rows that are set aside.

    Args:
        bench: With the view `remaining` and the tables `labels` and `near`.
        given: Splits that have rows of their own; they keep them.
        options: Shares and seed for the others.

    Returns:
        Whether rows were dealt out.
    """
    bench.run("CREATE TABLE moved (id BIGINT, home UTINYINT)")
    if set(Split) <= set(given):
        return False
    bench.set(
        seed=options.seed,
        test_share=0.0 if Split.TEST in given else options.test_share,
        validation_share=0.0 if Split.VALIDATION in given else options.validation_share,
    )
    for statement in (_ANCHORED, _MOVE_ANCHORED, _DEALABLE, _STRATA, _CANDIDATES, _DEAL):
        bench.run(statement)
    bench.run("DROP TABLE candidates")
    return True


def is_scored(counts: Mapping[Split, int]) -> bool:
    """Return whether there is a row to score a model on."""
    return bool(counts[Split.VALIDATION] or counts[Split.TEST])


def dealt_out(
    counts: Mapping[Split, int], *, given: Collection[Split], options: SplitOptions
) -> Iterator[Finding]:
    """Yield what there is to say of rows that were set aside, or were not."""
    dealt = [split for split in Split if split not in given]
    parts = " and ".join(f"{counts[split]} for {split}" for split in dealt)
    files = "file was" if len(dealt) == 1 else "files were"
    yield Finding(
        code=Code.ROWS_DEALT_OUT,
        message=f"Of the training rows {parts} were set aside, because no such {files} "
        f"uploaded (seed {options.seed}).",
        count=sum(counts[split] for split in dealt),
    )
    shares = {
        Split.VALIDATION: options.validation_share,
        Split.TEST: options.test_share,
    }
    bare = " and ".join(split for split in dealt if shares.get(split) and not counts[split])
    unscored = "" if is_scored(counts) else " No model can be trained: nothing could score it."
    if bare:
        yield Finding(
            code=Code.NOTHING_SET_ASIDE,
            message=f"No row could be set aside for {bare}: texts that differ in little stay "
            f"together, and too few do not.{unscored}",
            fix=f"Upload rows for {bare}, of texts that are not like those of training; or set "
            "`near_duplicates` to `off`, and scores will be too good.",
        )
    elif unscored:
        yield Finding(
            code=Code.NOTHING_SET_ASIDE,
            message=f"No row was set aside, as the shares are 0.{unscored}",
            fix="Set `validation_share` or `test_share`, or upload rows for validation or test.",
        )
