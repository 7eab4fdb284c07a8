"""Deals out training rows for the held-out splits that were not uploaded.

Stratified by label. A row's place depends on the seed and its text alone: neither on the order
of rows nor on the machine.
"""

from __future__ import annotations

from collections.abc import Collection

from services.ingest.dataset import Split, SplitOptions
from services.ingest.workbench import Workbench

# At least one row for each held-out split where a label has five, and always one for training.
# md5 is the same everywhere, which DuckDB's own hash does not promise.
_DEALT = """
WITH ranked AS (
  SELECT
    *,
    row_number() OVER (
      PARTITION BY label ORDER BY md5_number(concat(getvariable('seed'), ':', text)), text
    ) - 1 AS place,
    count(*) OVER (PARTITION BY label) AS size
  FROM remaining WHERE split = 0
),
wanted AS (
  SELECT
    *,
    if(getvariable('test_share') = 0, 0,
      greatest(round(size * getvariable('test_share'))::BIGINT, if(size >= 5, 1, 0))) AS tests,
    if(getvariable('validation_share') = 0, 0,
      greatest(round(size * getvariable('validation_share'))::BIGINT, if(size >= 5, 1, 0)))
      AS validations
  FROM ranked
),
allowed AS (
  SELECT * REPLACE (
    least(tests, size - 1) AS tests,
    least(validations, greatest(size - 1 - tests, 0)) AS validations)
  FROM wanted
)
SELECT
  (CASE
    WHEN place < tests THEN 2 WHEN place < tests + validations THEN 1 ELSE 0
  END)::UTINYINT AS split,
  row, line, text, label
FROM allowed
UNION ALL
SELECT split, row, line, text, label FROM remaining WHERE split > 0
"""


def deal_out(bench: Workbench, *, given: Collection[Split], options: SplitOptions) -> bool:
    """Create the view `final`: the rows that are left, each in its split.

    Args:
        bench: With the view `remaining`.
        given: Splits whose file was uploaded; they keep their rows.
        options: Shares and seed for the others.

    Returns:
        Whether rows were dealt out.
    """
    if set(Split) <= set(given):
        bench.run("CREATE VIEW final AS SELECT split, row, line, text, label FROM remaining")
        return False
    bench.set(
        seed=options.seed,
        test_share=0.0 if Split.TEST in given else options.test_share,
        validation_share=0.0 if Split.VALIDATION in given else options.validation_share,
    )
    path = bench.write(_DEALT, "dealt.parquet")
    bench.set(dealt=str(path))
    bench.run("CREATE VIEW final AS SELECT * FROM read_parquet(getvariable('dealt'))")
    return True
