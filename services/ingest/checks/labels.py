"""Labels: how often each stands, which are too rare, and which seem to be one and the same.

Where a text can have several labels, a label that is too rare is taken out of its rows, which
stay; where it has one, the row is dropped.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from services.ingest.finding import Code, Finding
from services.ingest.workbench import Workbench

_MAX_COMPARED = 100_000
_VARIANTS_NAMED = 10
_GROUPS_NAMED = 100
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?", re.ASCII)

# `sets` are the labels of a row as they stand together; of those there are few.
_COUNT = (
    """
CREATE TABLE sets AS
SELECT home, label, count(*) AS examples FROM remaining GROUP BY home, label
""",
    """
CREATE TABLE labels AS
SELECT label, sum(examples)::BIGINT AS examples
FROM (
  SELECT
    unnest(if(getvariable('multi_label'), string_split(label, chr(31)), [label])) AS label,
    examples
  FROM sets WHERE home = 0
)
WHERE label <> '' GROUP BY label
""",
    """
CREATE TABLE rare AS
SELECT home, set.label AS label, min(coalesce(examples, 0))::BIGINT AS examples
FROM (
  SELECT
    home, label,
    unnest(if(getvariable('multi_label'), string_split(label, chr(31)), [label])) AS one
  FROM sets
) AS set LEFT JOIN labels ON set.one = labels.label
WHERE one <> '' AND coalesce(examples, 0) < getvariable('min_per_label')
GROUP BY home, set.label
""",
)

_DROP = """
INSERT INTO dropped
SELECT
  id, if(remaining.home = 0, 'rare_label', 'unseen_label'), NULL, NULL, NULL, rare.examples
FROM remaining JOIN rare USING (home, label)
"""

_TAKE_OUT = """
INSERT INTO relabelled
SELECT id FROM remaining SEMI JOIN rare USING (home, label)
"""

_LEFT = "SELECT label FROM labels WHERE examples >= getvariable('min_per_label')"


def drop_rare(bench: Workbench, *, min_per_label: int, multi_label: bool) -> None:
    """Drop labels with too few training examples, and held-out labels that training lacks.

    Afterwards the table `labels` (label, examples) holds every label of training, and
    `relabelled` (id) the rows that lose some of their labels.

    Args:
        bench: With the view `remaining`.
        min_per_label: Unique training examples that a label needs.
        multi_label: Whether a text can have several labels.
    """
    bench.set(min_per_label=min_per_label, multi_label=multi_label)
    for statement in _COUNT:
        bench.run(statement)
    bench.run("CREATE TABLE relabelled (id BIGINT)")
    if bench.value("SELECT count(*) FROM rare"):
        bench.run(_TAKE_OUT if multi_label else _DROP)


def left_labels(bench: Workbench) -> list[str]:
    """Return the labels that are not too rare."""
    return [label for (label,) in bench.rows(_LEFT)]


def variants(bench: Workbench) -> Iterator[Finding]:
    """Warn of labels that differ in nothing but case, blanks, hyphens, Unicode or the invisible."""
    labels = bench.rows(
        "SELECT label, examples FROM labels ORDER BY examples DESC, label LIMIT ?", [_MAX_COMPARED]
    )
    alike: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for label, examples in labels:
        alike[_normal_form(label)].append((label, examples))
    groups = [group for group in alike.values() if len(group) > 1]
    yield from (_variant(group) for group in groups[:_GROUPS_NAMED])


def _variant(group: Sequence[tuple[str, int]]) -> Finding:
    named = _name(group[:_VARIANTS_NAMED])
    more = len(group) - _VARIANTS_NAMED
    return Finding(
        code=Code.LABEL_VARIANT,
        message=f"These labels seem to be one: {named}{f' and {more} more' if more > 0 else ''}.",
        column="label",
        fix=f'Write it in one way, such as "{group[0][0][:40]}"; they were kept apart.',
        count=sum(examples for _, examples in group),
    )


def _name(labels: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f'"{label[:40]}" ({examples})' for label, examples in labels)


def _normal_form(label: str) -> str:
    """Return what is left of a label without what people vary by accident."""
    visible = "".join(one for one in label if unicodedata.category(one) != "Cf")
    folded = " ".join(unicodedata.normalize("NFKC", visible).casefold().split())
    if _NUMBER.fullmatch(folded):
        return repr(float(folded))
    return " ".join(folded.replace("-", " ").replace("_", " ").split()) or folded
