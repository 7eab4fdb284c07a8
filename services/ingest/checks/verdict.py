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
    distinct_texts: int
    """Different values of the text column in the training file, about."""

    distinct_labels: int
    """Different values of the label column in the training file, about."""

    @property
    def imbalance(self) -> float:
        return self.kept[0][1] / self.kept[-1][1] if self.kept else 0.0


def judge(
    bench: Workbench,
    *,
    profile: Profile,
    profile_name: str,
    limits: Limits,
    checked: Mapping[Split, Checked],
    over_long: int,
) -> Judgement:
    """Decide whether the rows that are left make a dataset.

    Args:
        bench: After the rules were applied.
        profile: The minimum counts.
        profile_name: How the caller chose it.
        limits: The maximum counts.
        checked: The files that were uploaded.
        over_long: Texts over the token limit.
    """
    counts = _count(bench, profile)
    found = [
        *_errors(counts, profile, profile_name, limits, checked),
        *_warnings(counts, profile, limits, over_long),
    ]
    refusals = tuple(finding for finding in found if finding.severity is Severity.ERROR)
    return Judgement(
        report=Report(
            splits=counts.examples,
            label_count=len(counts.kept),
            removed_labels=tuple(label for label, _ in counts.removed[:MAX_LABELS_NAMED]),
            imbalance=counts.imbalance,
            over_long_texts=over_long,
        ),
        findings=tuple(finding for finding in found if finding.severity is not Severity.ERROR),
        refusals=refusals,
    )


def _count(bench: Workbench, profile: Profile) -> _Counts:
    splits = list(Split)
    # Labels by the million (the columns are swapped) must not fill the memory.
    labels = bench.rows(
        "SELECT label, examples FROM labels WHERE examples >= ? ORDER BY examples DESC, label",
        [profile.min_per_label],
    )
    removed = bench.rows(
        "SELECT label, examples FROM labels WHERE examples < ? ORDER BY examples DESC, label "
        "LIMIT 100000",
        [profile.min_per_label],
    )
    ((distinct_texts, distinct_labels),) = bench.rows(
        "SELECT approx_count_distinct(text), approx_count_distinct(label) FROM valid "
        "WHERE split = 0"
    )
    return _Counts(
        examples={
            splits[number]: count
            for number, count in bench.rows(
                "SELECT split, count(*) FROM remaining GROUP BY split ORDER BY split"
            )
        },
        kept=[(label, count) for label, count in labels],
        removed=[(label, count) for label, count in removed],
        distinct_texts=distinct_texts,
        distinct_labels=distinct_labels,
    )


def _errors(
    counts: _Counts,
    profile: Profile,
    profile_name: str,
    limits: Limits,
    checked: Mapping[Split, Checked],
) -> Iterator[Finding]:
    left = counts.examples.get(Split.TRAIN, 0)
    read = checked[Split.TRAIN].rows_read
    too_few = left < profile.min_examples or len(counts.kept) < 2  # noqa: PLR2004  # two labels
    if too_few and counts.distinct_labels > max(2 * counts.distinct_texts, _MANY_LABELS):
        dialect = checked[Split.TRAIN].dialect
        yield Finding(
            code=Code.COLUMN_ORDER,
            message=f"The columns seem to be the other way round: the text column "
            f"({dialect.text_column}) holds about {counts.distinct_texts} different values, the "
            f"label column ({dialect.label_column}) about {counts.distinct_labels}.",
            fix="Write the text first and the label second, or add the header line `label,text`.",
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
            f"there are {_name(counts.removed)}.",
            fix="Check that the second column is the label, or add examples of each label.",
        )
    if len(counts.kept) == 1:
        yield Finding(
            code=Code.TOO_FEW_LABELS,
            message=f'Every training example that is left has the label "{counts.kept[0][0]}"; '
            "at least two labels are needed.",
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


def _warnings(
    counts: _Counts, profile: Profile, limits: Limits, over_long: int
) -> Iterator[Finding]:
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
            f"were removed: {_name(counts.removed)}.",
            fix="Add examples of these labels, or merge them with others.",
            count=sum(count for _, count in counts.removed),
        )
    if counts.imbalance > _IMBALANCE:
        (most, most_rows), (least, least_rows) = counts.kept[0], counts.kept[-1]
        yield Finding(
            code=Code.IMBALANCE,
            message=f'The labels are out of balance: "{most}" has {most_rows} training examples, '
            f'"{least}" {least_rows}.',
            fix=f'Add examples of "{least}".',
        )
    if over_long:
        texts = "1 text has" if over_long == 1 else f"{over_long} texts have"
        yield Finding(
            code=Code.TOKEN_LIMIT,
            message=f"{texts} more than {limits.max_tokens} tokens; a model reads the beginning "
            "only.",
            fix="Shorten them, so that what decides the label stands in front.",
            count=over_long,
        )


def _name(labels: Sequence[tuple[str, int]]) -> str:
    """Return labels and their counts as words, cut where they are many."""
    named = ", ".join(f'"{label[:40]}" ({count})' for label, count in labels[:_LABELS_IN_A_MESSAGE])
    more = len(labels) - _LABELS_IN_A_MESSAGE
    return f"{named} and {more} more" if more > 0 else named
