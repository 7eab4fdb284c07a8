"""What differs between two datasets, by text; from their published Parquet, in bounded memory."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.ingest.cancellation import Cancellation
from services.ingest.dataset import Example, Split
from services.ingest.published.artefacts import ArtefactCache
from services.ingest.published.preview import MAX_TEXT_LENGTH
from services.ingest.record import DatasetRecord, StoredSplit
from services.ingest.workbench import EngineOptions, Workbench

# What is compared is small whatever the texts are: 128 bits of md5 stand for each text and for
# each set of labels. Two that differ share them by a chance of 1 in 10^24 among a million.
_SIDE = """
SELECT
  getvariable('side')::UTINYINT AS side,
  getvariable('split')::UTINYINT AS split,
  file_row_number AS place,
  md5_number(text) AS text,
  md5_number(array_to_string(list_sort(labels), chr(31))) AS labels
FROM read_parquet(getvariable('source'), file_row_number = true)
"""
_SIDES = "CREATE VIEW sides AS FROM read_parquet(getvariable('sides'))"
_JOINED = """
SELECT
  CASE
    WHEN base.text IS NULL THEN 'added'
    WHEN other.text IS NULL THEN 'removed'
    WHEN base.labels <> other.labels THEN 'relabelled'
    WHEN base.split <> other.split THEN 'moved'
    ELSE 'unchanged'
  END AS kind,
  base.split AS base_split, base.place AS base_place,
  other.split AS other_split, other.place AS other_place
FROM (FROM sides WHERE side = 0) AS base
FULL JOIN (FROM sides WHERE side = 1) AS other USING (text)
"""
_COMPARED = "CREATE VIEW compared AS FROM read_parquet(getvariable('compared'))"
_COUNTS = "SELECT kind, count(*) FROM compared GROUP BY kind"
_SHOWN = {
    "added": """
SELECT other_split, other_place, NULL, NULL FROM compared WHERE kind = 'added'
ORDER BY other_split, other_place LIMIT getvariable('rows')
""",
    "removed": """
SELECT base_split, base_place, NULL, NULL FROM compared WHERE kind = 'removed'
ORDER BY base_split, base_place LIMIT getvariable('rows')
""",
    "relabelled": """
SELECT other_split, other_place, base_split, base_place FROM compared WHERE kind = 'relabelled'
ORDER BY other_split, other_place LIMIT getvariable('rows')
""",
}
_ROWS = """
SELECT file_row_number, left(text, getvariable('length')), labels, row, line
FROM read_parquet(getvariable('source'), file_row_number = true)
WHERE list_contains(getvariable('places'), file_row_number)
"""

_SPLITS = list(Split)

Place = tuple[int, int]
"""Where a row stands: the number of its split, and of its row in that split's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabelled:
    """A text that has other labels than before."""

    example: Example
    base_labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs between two datasets."""

    added_count: int
    removed_count: int
    relabelled_count: int
    moved_count: int
    unchanged_count: int
    labels: tuple[tuple[str, int, int], ...]
    """Each label and its rows before and after, by the size of the change."""

    added: tuple[Example, ...]
    removed: tuple[Example, ...]
    relabelled: tuple[Relabelled, ...]
    same_content: bool


class Differences:
    """Compares datasets. Thread safe."""

    def __init__(self, *, cache: ArtefactCache, scratch: Path, engine: EngineOptions) -> None:
        """Keep the parts.

        Args:
            cache: Where copies of published files are at hand.
            scratch: Directory for what lies there meanwhile, on the same disk as the cache.
            engine: What DuckDB may use.
        """
        self._cache = cache
        self._scratch = scratch
        self._engine = engine

    def between(
        self, base: DatasetRecord, other: DatasetRecord, rows: int, cancellation: Cancellation
    ) -> Difference:
        """Compare two READY datasets.

        Args:
            base: The one before.
            other: The one after.
            rows: Rows of each kind to show, 1 to 100.
            cancellation: Ends it from another thread.

        Raises:
            DataLoss: Where a file is absent from the store, or not what was published.
        """
        self._scratch.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(
                dir=self._scratch, prefix="diff-", ignore_cleanup_errors=True
            ) as directory,
            Workbench(Path(directory), self._engine) as bench,
        ):
            cancellation.attach(bench.interrupt)
            try:
                return _Comparison(bench, self._cache, cancellation).run(base, other, rows)
            finally:
                cancellation.attach(None)


class _Comparison:
    def __init__(self, bench: Workbench, cache: ArtefactCache, cancellation: Cancellation) -> None:
        self._bench = bench
        self._cache = cache
        self._cancellation = cancellation
        self._files: dict[tuple[int, int], Path] = {}
        """By side (0 base, 1 other) and split."""

    def run(self, base: DatasetRecord, other: DatasetRecord, rows: int) -> Difference:
        for side, record in enumerate((base, other)):
            for split in record.splits:
                self._read(side, split)
        self._bench.set(sides=str(self._bench.directory / "*.side"))
        self._bench.run(_SIDES)
        self._bench.set(compared=str(self._bench.write(_JOINED, "compared")))
        self._bench.run(_COMPARED)
        counts = dict(self._bench.rows(_COUNTS))
        self._bench.set(rows=rows, length=MAX_TEXT_LENGTH)
        places = {kind: self._bench.rows(query) for kind, query in _SHOWN.items()}
        before = self._examples(0, [gone[:2] for gone in places["removed"]])
        before |= self._examples(0, [changed[2:] for changed in places["relabelled"]])
        after = self._examples(1, [new[:2] for new in places["added"]])
        after |= self._examples(1, [changed[:2] for changed in places["relabelled"]])
        return Difference(
            added_count=counts.get("added", 0),
            removed_count=counts.get("removed", 0),
            relabelled_count=counts.get("relabelled", 0),
            moved_count=counts.get("moved", 0),
            unchanged_count=counts.get("unchanged", 0),
            labels=_label_changes(base.splits, other.splits),
            added=tuple(after[place[:2]] for place in places["added"]),
            removed=tuple(before[place[:2]] for place in places["removed"]),
            relabelled=tuple(
                Relabelled(example=after[place[:2]], base_labels=before[place[2:]].labels)
                for place in places["relabelled"]
            ),
            same_content=base.content_hash == other.content_hash,
        )

    def _read(self, side: int, stored: StoredSplit) -> None:
        self._cancellation.check()
        split = _SPLITS.index(stored.split)
        path = self._cache.lend(stored.file, self._bench.directory)
        self._files[side, split] = path
        self._bench.set(side=side, split=split, source=str(path))
        self._bench.write(_SIDE, f"{side}.{split}.side")

    def _examples(self, side: int, places: Iterable[Place]) -> dict[Place, Example]:
        """Return the rows that stand at `places` of one side."""
        wanted: dict[int, list[int]] = {}
        for split, place in places:
            wanted.setdefault(split, []).append(place)
        found: dict[Place, Example] = {}
        for split, numbers in wanted.items():
            self._cancellation.check()
            self._bench.set(source=str(self._files[side, split]), places=numbers)
            for number, *values in self._bench.rows(_ROWS):
                found[split, number] = _example(_SPLITS[split], values)
        return found


def _example(split: Split, values: Sequence[Any]) -> Example:
    text, labels, row, line = values
    return Example(text=text, labels=tuple(labels), split=split, row=row, line=line)


def _label_changes(
    base: Iterable[StoredSplit], other: Iterable[StoredSplit]
) -> tuple[tuple[str, int, int], ...]:
    before, after = _label_counts(base), _label_counts(other)
    changes = [(label, before[label], after[label]) for label in before | after]
    return tuple(sorted(changes, key=lambda change: (-abs(change[2] - change[1]), change[0])))


def _label_counts(splits: Iterable[StoredSplit]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for split in splits:
        counts.update(dict(split.labels))
    return counts
