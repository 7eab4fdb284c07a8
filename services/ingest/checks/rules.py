"""What rows mean to each other: duplicates, contradictions, leakage, labels that are too rare.

Each rule names the rows it drops, in the table `dropped`, and says why in a finding.
"""

from __future__ import annotations

from services.ingest.workbench import Workbench

# Only texts that stand more than once can break the first three rules. Usually they are few,
# so the sorting below sees few rows.
_REPEATED = """
CREATE TABLE repeated AS SELECT text FROM valid GROUP BY text HAVING count(*) > 1
"""

_REPETITIONS = """
WITH placed AS (
  SELECT
    split, row, line, text, label,
    row_number() OVER here AS occurrence,
    first_value(label) OVER here AS first_label,
    first_value(line) OVER here AS first_line,
    max(split) OVER everywhere AS last_split,
    arg_max(line, split) OVER everywhere AS last_line
  FROM valid SEMI JOIN repeated USING (text)
  WINDOW
    here AS (PARTITION BY text, split ORDER BY row),
    everywhere AS (PARTITION BY text)
)
SELECT
  split, line, row, 'text' AS "column",
  CASE
    WHEN occurrence > 1 AND label = first_label THEN 'duplicate'
    WHEN occurrence > 1 THEN 'conflicting_labels'
    ELSE 'split_leakage'
  END AS code,
  CASE
    WHEN occurrence > 1 AND label = first_label
      THEN format('The same text with the same label stands on line {}.', first_line)
    WHEN occurrence > 1
      THEN format('The same text stands on line {} with the label "{}"; here it has "{}".',
        first_line, first_label, label)
    ELSE format('The text also stands in the {} file, line {}: scores would be too good.',
      if(last_split = 2, 'test', 'validation'), last_line)
  END AS message,
  text AS excerpt,
  CASE
    WHEN occurrence > 1 AND label = first_label THEN 'Nothing to do: the first one is kept.'
    WHEN occurrence > 1 THEN 'Decide which label is right; the first one was kept.'
    ELSE 'Nothing to do: it stays there and was removed here.'
  END AS fix
FROM placed
WHERE occurrence > 1 OR split < last_split
"""

_RARE = """
SELECT
  split, line, row, 'label' AS "column",
  if(split = 0, 'rare_label', 'unseen_label') AS code,
  if(split = 0,
    format('The label "{}" has {} unique training examples, at least {} are needed.',
      label, examples, getvariable('min_per_label')),
    format('The label "{}" is not among the labels of the training rows.', label)) AS message,
  text AS excerpt,
  if(split = 0, 'Add examples of this label, or merge it with another.',
    'Add training examples of this label, or correct it.') AS fix
FROM remaining LEFT JOIN labels USING (label)
WHERE coalesce(examples, 0) < getvariable('min_per_label')
"""


class Rules:
    """Applies the rules one after another, each to what the one before has left."""

    def __init__(self, bench: Workbench, *, min_per_label: int) -> None:
        """Start with all valid rows.

        Args:
            bench: With the view `valid`.
            min_per_label: Unique training examples that a label needs.
        """
        self._bench = bench
        bench.set(min_per_label=min_per_label)
        bench.run("CREATE TABLE dropped (split UTINYINT, row BIGINT)")
        bench.run(
            "CREATE VIEW remaining AS SELECT * FROM valid ANTI JOIN dropped USING (split, row)"
        )

    def drop_repetitions(self) -> None:
        """Drop duplicates, contradictions, and rows that a later split holds too."""
        self._bench.run(_REPEATED)
        self._drop(_REPETITIONS, "repetitions")
        self._bench.run("DROP TABLE repeated")

    def drop_rare_labels(self) -> None:
        """Drop labels with too few training examples, and held-out rows of unknown labels.

        Afterwards the table `labels` (label, examples) holds every label of training.
        """
        self._bench.run(
            "CREATE TABLE labels AS SELECT label, count(*) AS examples FROM remaining "
            "WHERE split = 0 GROUP BY label"
        )
        self._drop(_RARE, "rare")

    def _drop(self, query: str, name: str) -> None:
        """Write the findings of `query` to a file and take their rows out."""
        path = self._bench.write(query, f"{name}.findings.parquet")
        self._bench.set(found=str(path))
        self._bench.run(
            "INSERT INTO dropped SELECT split, row FROM read_parquet(getvariable('found'))"
        )
