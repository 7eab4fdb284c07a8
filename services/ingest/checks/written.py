"""Writes what is left: one Parquet file for each split, in the order of the files.

What becomes of each row stands at its place in arrays: a join would not keep the order of rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.ingest.checks.labels import left_labels
from services.ingest.checks.staging import SPLIT_NUMBERS, Stage, open_staged
from services.ingest.dataset import Split
from services.ingest.workbench import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRows:
    """The rows of one split, ready to be published."""

    split: Split
    path: Path
    """Parquet: text VARCHAR, labels VARCHAR[], row BIGINT, line BIGINT, "group" BIGINT and what
    was carried along; in order of the files."""

    row_count: int
    labels: tuple[tuple[str, int], ...]
    """Each label and its rows, most frequent first."""


# The expressions are evaluated in this order of cost: hardly a row is in a group or relabelled.
_ROWS = r"""
WITH mine AS (
  SELECT * FROM staged POSITIONAL JOIN fates WHERE fates.fate = getvariable('mine')
),
described AS (
  SELECT
    *,
    CASE
      WHEN NOT getvariable('multi_label') THEN [label]
      WHEN label = '' THEN []
      ELSE string_split(label, chr(31))
    END AS labels
  FROM mine
),
finished AS (
  SELECT
    text AS "out:text",
    if(is_relabelled,
      list_filter(labels, lambda one: list_contains(getvariable('left_labels'), one)),
      labels) AS "out:labels",
    row AS "out:row",
    line AS "out:line",
    if(is_grouped, group_of(id), NULL) AS "out:group",
    COLUMNS(lambda name: starts_with(name, 'kept:') OR name = 'id')
  FROM described
)
SELECT COLUMNS('^(?:out|kept):(.*)$') AS '\1' FROM finished
"""

_LABELS = """
SELECT label, count(*)
FROM (SELECT unnest(labels) AS label FROM read_parquet(getvariable('rows_file')))
GROUP BY label ORDER BY count(*) DESC, label
"""

# Within one file rows go up; every further file may begin anew.
_CHECK = """
SELECT count(*), count(*) FILTER (row <= row_before)
FROM (SELECT row, lag(row) OVER () AS row_before FROM read_parquet(getvariable('rows_file')))
"""

_NOWHERE = 255


_FILES = "SELECT split, min(id), max(id) FROM staged GROUP BY split"
_ELSEWHERE = "SELECT id, home FROM staged WHERE home <> split % 3"
_DROPPED = "SELECT id FROM staged WHERE problem <> '' UNION ALL SELECT id FROM dropped"


class RowWriter:
    """Knows of every row whether it stays, and where."""

    def __init__(self, bench: Workbench, stages: Sequence[Stage], *, multi_label: bool) -> None:
        """Take over what the checks have decided.

        Args:
            bench: With `staged`, `dropped`, `moved`, `near`, `relabelled` and `labels`.
            stages: What `staged` is made of.
            multi_label: Whether a text can have several labels.
        """
        self._directory = bench.directory
        self._stages = stages
        self._multi_label = multi_label
        self._left_labels = left_labels(bench)
        rows = sum(stage.rows for stage in stages)
        self._homes = np.zeros(rows, np.uint8)
        files = bench.rows(_FILES)
        self._files = max(len(files), 1)
        for split, first, last in files:
            self._homes[first : last + 1] = split % len(Split)
        for query in (_ELSEWHERE, "SELECT id, home FROM moved"):
            found = bench.columns(query)
            self._homes[found["id"]] = found["home"]
        self._homes[bench.columns(_DROPPED)["id"]] = _NOWHERE
        self._is_relabelled = np.zeros(rows, np.bool_)
        self._is_relabelled[bench.columns("SELECT id FROM relabelled")["id"]] = True
        near = bench.columns('SELECT id, "group" AS number FROM near ORDER BY id')
        self._grouped, self._groups = near["id"], near["number"]
        self._is_grouped = np.zeros(rows, np.bool_)
        self._is_grouped[self._grouped] = True

    def prepare(self, bench: Workbench) -> None:
        """Make ready a workbench in which splits are written."""
        open_staged(bench, self._stages)
        bench.set(multi_label=self._multi_label, left_labels=self._left_labels)
        bench.show(
            "fates",
            fate=self._homes,
            is_relabelled=self._is_relabelled,
            is_grouped=self._is_grouped,
        )
        # Python's own search for one number is several times faster than numpy's.
        ids, groups = self._grouped.data, self._groups.data
        bench.define("group_of", lambda row: groups[bisect_left(ids, row)], types="BIGINT")

    def path(self, split: Split) -> Path:
        """Return where the rows of a split are written, from front to back."""
        return self._directory / f"{split}.parquet"

    def write(self, bench: Workbench, split: Split) -> SplitRows:
        """Write the rows of one split.

        Args:
            bench: Prepared.
            split: Which.

        Raises:
            RuntimeError: Where other rows were written, or in another order: a fault of this
                program.
        """
        bench.set(mine=SPLIT_NUMBERS[split])
        row_bytes = max((stage.row_bytes for stage in self._stages), default=0)
        path = bench.write(_ROWS, self.path(split).name, stays=True, row_bytes=row_bytes)
        bench.set(rows_file=str(path))
        count = int(np.count_nonzero(self._homes == SPLIT_NUMBERS[split]))
        ((written, begun_anew),) = bench.rows(_CHECK)
        if written != count or begun_anew >= self._files:
            msg = f"{split}: of {count} rows {written} were written, {begun_anew} out of order"
            raise RuntimeError(msg)
        labels = tuple((label, number) for label, number in bench.rows(_LABELS))
        return SplitRows(split=split, path=path, row_count=count, labels=labels)
