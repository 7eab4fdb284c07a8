"""Texts that differ in little: finds them, and drops or reports them.

Afterwards the table `near` (id, "group") holds the rows that are alike; a group is called after
its first row. It is empty where nothing was looked for, or nothing was left of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain

from services.ingest.arrow_stream import TextBatch
from services.ingest.checks.near_groups import NearGroups
from services.ingest.checks.sketches import Sketches, sketch
from services.ingest.checks.staging import Stage, each
from services.ingest.checks.tokens import Words, pieces_of, words_of
from services.ingest.dataset import Overlap, Split
from services.ingest.workbench import Workbench

# Of long texts the beginning tells. Letters of ASCII are brought into lower case with less work
# where words are looked for.
_TEXTS = """
SELECT id, if(strlen(part) = length(part), part, lower(part)) AS text
FROM (
  SELECT id, if(strlen(text) > 4096, left(text, 4096), text) AS part
  FROM valid ANTI JOIN (
    FROM dropped WHERE id BETWEEN getvariable('first_id') AND getvariable('last_id')
  ) USING (id)
)
"""

# What a later split holds is told, or dropped, of the earlier one; a parent's rows stay.
_PLACED = """
CREATE TABLE near_rows AS
WITH placed AS (
  SELECT
    id, "group", split, home,
    row_number() OVER here AS occurrence,
    first_value(struct_pack(split, line, label)) OVER here AS first_here,
    first_value(struct_pack(split, line, label)) OVER everywhere AS first_anywhere,
    max(home) OVER unordered AS last_home,
    arg_max(struct_pack(split, line, label), (home, -id)) OVER unordered AS last
  FROM remaining JOIN near USING (id)
  WINDOW
    here AS (PARTITION BY "group", home ORDER BY id),
    everywhere AS (PARTITION BY "group" ORDER BY id),
    unordered AS (PARTITION BY "group")
)
SELECT
  id, home, "group",
  CASE
    WHEN first_anywhere.split > 2 THEN 'near_duplicate'
    WHEN home < last_home THEN 'near_leakage'
    ELSE 'near_duplicate'
  END AS code,
  CASE
    WHEN first_anywhere.split > 2 THEN first_anywhere
    WHEN home < last_home THEN last
    ELSE first_here
  END AS other
FROM placed
WHERE split <= 2 AND (first_anywhere.split > 2 OR home < last_home OR occurrence > 1)
"""

_NO_ROWS = """
CREATE TABLE near_rows (
  id BIGINT, code VARCHAR, other STRUCT(split UTINYINT, line BIGINT, label VARCHAR))
"""

_OVERLAPS = """
WITH homes AS (
  SELECT "group", home, count(*) AS rows FROM remaining JOIN near USING (id) GROUP BY ALL
)
SELECT a.home, b.home, sum(a.rows)::BIGINT
FROM homes AS a JOIN homes AS b USING ("group")
WHERE a.home < b.home
GROUP BY a.home, b.home
"""

_DROP = """
INSERT INTO dropped
SELECT id, code || '_dropped', other.split, other.line, other.label, NULL FROM near_rows
"""
_KEEP_GROUPS = """
CREATE TABLE left_near AS
SELECT id, "group" FROM near ANTI JOIN dropped USING (id)
QUALIFY count(*) OVER (PARTITION BY "group") > 1
"""

_AHEAD = 32
"""Pieces of texts that wait for each thread, so that none idles while the next rows are read."""


def find(
    bench: Workbench, stages: Sequence[Stage], *, threads: int, check: Callable[[], None]
) -> None:
    """Create the table `near`.

    Args:
        bench: With `staged`, `valid` and `dropped`.
        stages: All that are in `staged`.
        threads: Batches that are worked on at once.
        check: Called now and then; what it raises ends the search.
    """
    texts = chain.from_iterable(bench.texts(_TEXTS) for _ in each(bench, stages))
    with NearGroups(bench.directory) as groups:
        for words, sketches in _sketched(texts, threads):
            check()
            groups.add(words, sketches)
        ids, first = groups.found(threads=threads, check=check)
    bench.create_table("near", id=ids, group=first)


def find_none(bench: Workbench) -> None:
    """Create the tables `near` and `near_rows` without rows."""
    bench.run('CREATE TABLE near (id BIGINT, "group" BIGINT)')
    bench.run(_NO_ROWS)


def judge(bench: Workbench, *, drop: bool) -> tuple[Overlap, ...]:
    """Create the table `near_rows`: what is to be said of rows; drop them where that is wanted.

    Args:
        bench: With `near` and `remaining`.
        drop: Whether the rows are dropped.

    Returns:
        How many rows of each two splits were alike.
    """
    bench.run(_PLACED)
    splits = list(Split)
    overlaps = tuple(
        Overlap(first=splits[first], second=splits[second], near=count)
        for first, second, count in bench.rows(_OVERLAPS)
    )
    if drop:
        bench.run(_DROP)
        bench.run(_KEEP_GROUPS)
        bench.run("DROP TABLE near")
        bench.run("ALTER TABLE left_near RENAME TO near")
    return overlaps


def merged(exact: tuple[Overlap, ...], near: tuple[Overlap, ...]) -> tuple[Overlap, ...]:
    """Return what two splits have in common, character by character and nearly, in one."""
    by_pair = {(one.first, one.second): one for one in exact}
    for one in near:
        pair = (one.first, one.second)
        by_pair[pair] = replace(by_pair.get(pair, one), near=one.near)
    order = list(Split)
    return tuple(by_pair[a, b] for a in order for b in order if (a, b) in by_pair)


def _sketched(batches: Iterator[TextBatch], threads: int) -> Iterator[tuple[Words, Sketches]]:
    """Yield words and sketches of all texts; numpy works on several pieces at once."""
    waiting: deque[Future[tuple[Words, Sketches]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for piece in chain.from_iterable(map(pieces_of, batches)):
            waiting.append(pool.submit(_sketch, piece))
            if len(waiting) > _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _sketch(piece: TextBatch) -> tuple[Words, Sketches]:
    words = words_of(piece)
    return words, sketch(words)
