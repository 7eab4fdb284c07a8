"""Judges what is left of a dataset: enough rows, enough labels, in balance?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.ingest.dataset import Checked, Limits, Profile, Report, Split
from services.ingest.finding import Code, Finding, Severity
from services.ingest.workbench import Workbench

MAX_LABELS_NAMED = 100
"""Labels that a report names."""

_LABELS_IN_A_MESSAGE = 10

_MANY_LABELS = 20
"""Different labels from which it is asked whether they are the texts."""

_MANY_ROWS = 20
"""Rows from which one label for all of them is no accident."""

_IMBALANCE = 10.0
"""Ratio of the most frequent to the rarest label from which it is warned about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was found about the dataset as a whole."""

    report: Report
    findings: tuple[Finding, ...]
    """Warnings."""

    refusals: tuple[Finding, ...]
    """Errors; empty where the dataset can be trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """What is left after the rules."""

    examples: Mapping[Split, int]
    kept: Sequence[tuple[str, int]]
    """Labels with enough training examples and how many, most frequent first."""

    removed: Sequence[tuple[str, int]]
    """Some of the others, most frequent first."""

    removed_count: int
    """How many others there are."""

    removed_examples: int
    rows: int
    """Rows of the training file that are labelled texts."""

    distinct_texts: int
    """Different values of the text column in the training file, about."""

    distinct_labels: int
    """Different values of the label column in the training file, about."""

    @property
    def imbalance(self) -> float:
        return self.kept[0][1] / self.kept[-1][1] if self.kept else 0.0

    @property
    def says_nothing(self) -> bool:
        return self.distinct_labels == 1 and self.rows >= _MANY_ROWS


def judge(
    bench: Workbench,
    *,
    profile: Profile,
    profile_name: str,
    limits: Limits,
    checked: Mapping[Split, Checked],
    multi_label: bool,
) -> Judgement:
    """Decide whether the rows that are left make a dataset.

    Args:
        bench: After the rules were applied.
        profile: The minimum counts.
        profile_name: How the caller chose it.
        limits: The maximum counts.
        checked: The files that were uploaded.
        multi_label: Whether a text can have several labels.
    """
    counts = _count(bench, profile)
    found = [
        *_errors(counts, profile, profile_name, limits, checked, multi_label=multi_label),
        *_warnings(counts, profile),
    ]
    refusals = tuple(finding for finding in found if finding.severity is Severity.ERROR)
    return Judgement(
        report=Report(
            splits=counts.examples,
            label_count=len(counts.kept),
            removed_labels=tuple(label for label, _ in counts.removed),
            imbalance=counts.imbalance,
            readable=not refusals or _is_readable(counts, refusals),
        ),
        findings=tuple(finding for finding in found if finding.severity is not Severity.ERROR),
        refusals=refusals,
    )


def _is_readable(counts: _Counts, refusals: Sequence[Finding]) -> bool:
    """Tell whether what was read are labelled texts, be they too few to train on."""
    is_swapped = any(finding.code is Code.COLUMN_ORDER for finding in refusals)
    return counts.rows > 0 and not counts.says_nothing and not is_swapped


def _count(bench: Workbench, profile: Profile) -> _Counts:
    splits = list(Split)
    # Labels by the million (the columns are swapped) must not fill the memory.
    labels = bench.rows(
        "SELECT label, examples FROM labels WHERE examples >= ? ORDER BY examples DESC, label",
        [profile.min_per_label],
    )
    removed = bench.rows(
        "SELECT label, examples FROM labels WHERE examples < ? ORDER BY examples DESC, label "
        "LIMIT ?",
        [profile.min_per_label, MAX_LABELS_NAMED],
    )
    ((removed_count, removed_examples),) = bench.rows(
        "SELECT count(*), coalesce(sum(examples), 0)::BIGINT FROM labels WHERE examples < ?",
        [profile.min_per_label],
    )
    ((rows, distinct_texts, distinct_labels),) = bench.rows(
        "SELECT count(*), approx_count_distinct(key), approx_count_distinct(label) FROM valid "
        "WHERE split = 0"
    )
    return _Counts(
        examples={
            splits[number]: count
            for number, count in bench.rows(
                "SELECT home, count(*) FROM remaining GROUP BY home ORDER BY home"
            )
        },
        kept=[(label, count) for label, count in labels],
        removed=[(label, count) for label, count in removed],
        removed_count=removed_count,
        removed_examples=removed_examples,
        rows=rows,
        distinct_texts=distinct_texts,
        distinct_labels=distinct_labels,
    )


def _errors(
    counts: _Counts,
    profile: Profile,
    profile_name: str,
    limits: Limits,
    checked: Mapping[Split, Checked],
    *,
    multi_label: bool,
) -> Iterator[Finding]:
    left = counts.examples.get(Split.TRAIN, 0)
    read = checked[Split.TRAIN].rows_read
    too_few = left < profile.min_examples or len(counts.kept) < 2  # noqa: PLR2004  # two labels
    dialect = checked[Split.TRAIN].dialect
    if too_few and counts.distinct_labels > max(2 * counts.distinct_texts, _MANY_LABELS):
        yield Finding(
            code=Code.COLUMN_ORDER,
            message=f"The columns seem to be the other way round: the text column "
            f"({dialect.text_column}) holds about {counts.distinct_texts} different values, the "
            f"label column ({dialect.label_column}) about {counts.distinct_labels}.",
            fix="Set text_column and label_column (`--text-column`, `--label-column`) the other "
            "way round.",
        )
        return
    if counts.says_nothing and not multi_label:
        yield Finding(
            code=Code.TOO_FEW_LABELS,
            message=f"All {counts.rows} rows have one and the same label: the label column "
            f"({dialect.label_column}) tells nothing.",
            fix="Check that `label_column` names the labels; at least two are needed.",
        )
        return
    if left < profile.min_examples:
        yield Finding(
            code=Code.TOO_FEW_EXAMPLES,
            message=f"{left} usable training examples are left of {read} rows; the profile "
            f"`{profile_name}` asks for at least {profile.min_examples}.",
            fix="Add examples, see in the findings why rows were dropped, or choose a profile "
            "with lower minimums.",
            count=left,
        )
    if not counts.kept and counts.removed:
        yield Finding(
            code=Code.TOO_FEW_LABELS,
            message=f"No label has at least {profile.min_per_label} unique training examples; "
            f"there are {_name(counts)}.",
            fix="Check that the second column is the label, or add examples of each label.",
        )
    if left and not counts.kept and not counts.removed:
        yield Finding(
            code=Code.TOO_FEW_LABELS,
            message=f"No training example has a label; the label column is {dialect.label_column}.",
            fix="Check that `label_column` names the labels; at least two are needed.",
        )
    if len(counts.kept) == 1:
        yield Finding(
            code=Code.TOO_FEW_LABELS,
            message="The training examples that are left have no label but "
            f'"{counts.kept[0][0]}"; at least two labels are needed.',
            fix="Add examples of another label.",
        )
    if len(counts.kept) > limits.max_labels:
        yield Finding(
            code=Code.TOO_MANY_LABELS,
            message=f"There are {len(counts.kept)} labels, more than {limits.max_labels}.",
            fix="Merge labels, or check that the second column is the label.",
            count=len(counts.kept),
        )
    for split in checked:
        if split is not Split.TRAIN and not counts.examples.get(split):
            yield Finding(
                code=Code.EMPTY_SPLIT,
                message=f"No usable row is left of the {split} file.",
                split=split,
                fix="Correct the file, or leave it out: rows are then set aside from training.",
            )


def _warnings(counts: _Counts, profile: Profile) -> Iterator[Finding]:
    left = counts.examples.get(Split.TRAIN, 0)
    if profile.min_examples <= left < profile.advised_examples:
        yield Finding(
            code=Code.FEW_EXAMPLES,
            message=f"There are {left} training examples; {profile.advised_examples} or more "
            "are advised.",
            fix="Add examples.",
            count=left,
        )
    if counts.removed:
        yield Finding(
            code=Code.RARE_LABEL_REMOVED,
            message=f"Labels with fewer than {profile.min_per_label} unique training examples "
            f"were removed: {_name(counts)}.",
            fix="Add examples of these labels, or merge them with others.",
            count=counts.removed_examples,
        )
    if counts.imbalance > _IMBALANCE:
        (most, most_rows), (least, least_rows) = counts.kept[0], counts.kept[-1]
        yield Finding(
            code=Code.IMBALANCE,
            message=f'The labels are out of balance: "{most}" has {most_rows} training examples, '
            f'"{least}" {least_rows}.',
            fix=f'Add examples of "{least}".',
        )


def _name(counts: _Counts) -> str:
    """Return the removed labels and their counts as words, cut where they are many."""
    shown = counts.removed[:_LABELS_IN_A_MESSAGE]
    named = ", ".join(f'"{label[:40]}" ({count})' for label, count in shown)
    more = counts.removed_count - len(shown)
    return f"{named} and {more} more" if more > 0 else named
