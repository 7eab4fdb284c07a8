"""What would make a dataset better, in words, and how long training on it will take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from statistics import median

from services.ingest.dataset import Report, Split, TokenStatistics
from services.ingest.finding import Code

_FEW = 0.25
"""Share of the median below which a label is said to need examples."""

_LABELS_NAMED = 5

_COMFORTABLE_EXAMPLES = 500
_MUCH = 0.05
"""Share of the texts from which a fault is worth a word."""

# The recipe of the trainer's defaults, as docs/training.md tells it.
_EPOCHS_AT_1000 = 4
_LEAST_EPOCHS, _MOST_EPOCHS = 3, 8
_MANY_ROWS_PER_LABEL = 50
_CROSS_FITTED_BELOW = 1000
_FOLD = 0.8
"""Of the training again, where rows are too few to hold any out for good."""

_READ_TOKENS = 512
# Two cores, the base `small`: start, baseline, exports and what is tried in 8 bits; then tokens
# learnt and tokens only read in a second. 2,800 to 3,500 and 6,000 to 8,400 were measured at 16 to
# 128 tokens a text, on a machine that others used too. A row costs its mean length and what it is
# padded by.
_FIXED_SECONDS = 56.0
_LEARNT_PER_SECOND = 2_500
_READ_PER_SECOND = 6_000
_PADDING = 1.1
_PASSES_OVER_HELD_OUT = 4


def advised(report: Report, *, labels: Sequence[tuple[str, int]]) -> Report:
    """Return a finished report with advice and an estimate of the training time.

    Args:
        report: With everything else.
        labels: Of the training rows, and how many rows have each; empty where the dataset was
            refused, which leaves the time unset.
    """
    return replace(
        report,
        advice=tuple(_advice(report, labels)),
        training_time=_training_time(report, len(labels)) if labels else None,
    )


def _advice(report: Report, labels: Sequence[tuple[str, int]]) -> Iterator[str]:
    found: Mapping[str, int] = {count.code: count.count for count in report.findings}
    rows = sum(report.splits.values())
    yield from _about_labels(report, labels, found)
    if 0 < report.splits.get(Split.TRAIN, 0) < _COMFORTABLE_EXAMPLES:
        yield (
            f"Add examples of every label: {report.splits[Split.TRAIN]} are few, "
            f"{_COMFORTABLE_EXAMPLES} or more are advised."
        )
    if repaired := found.get(Code.MOJIBAKE, 0):
        yield (
            f"Export the file as UTF-8, or declare `fix_text`: {_texts(repaired)} decoded with "
            "the wrong encoding."
        )
    yield from _about_texts(report)
    similar = found.get(Code.NEAR_DUPLICATE, 0)
    if similar > _MUCH * rows:
        yield (
            f"Collect texts that differ more: {similar} differ in little from another and teach "
            "little; `near_duplicates` set to `drop` leaves one of each."
        )
    if leaked := found.get(Code.NEAR_LEAKAGE, 0):
        yield (
            f"Replace held-out texts that training almost holds ({leaked}): scores on them are "
            "too good."
        )


def _about_labels(
    report: Report, labels: Sequence[tuple[str, int]], found: Mapping[str, int]
) -> Iterator[str]:
    if labels:
        middle = median(count for _, count in labels)
        few = [(label, count) for label, count in reversed(labels) if count < _FEW * middle]
        for label, count in few[:_LABELS_NAMED]:
            yield f"Add examples of `{_short(label)}`: {count} against a median of {middle:.0f}."
        if len(few) > _LABELS_NAMED:
            yield f"{len(few) - _LABELS_NAMED} more labels have less than a quarter of the median."
    if report.removed_labels:
        named = ", ".join(f"`{_short(label)}`" for label in report.removed_labels[:_LABELS_NAMED])
        more = len(report.removed_labels) - _LABELS_NAMED
        yield (
            f"Add examples of the labels that were left out, or merge them with others: {named}"
            + (f" and {more} more." if more > 0 else ".")
        )
    if found.get(Code.LABEL_VARIANT):
        yield "Merge labels that are spelled in several ways; the warnings name them."
    if conflicts := found.get(Code.CONFLICTING_LABELS, 0):
        yield (
            f"Decide which label is right where one text has several: {conflicts} rows were "
            "dropped for it."
        )


def _about_texts(report: Report) -> Iterator[str]:
    tokens = report.tokens
    if tokens is None:
        return
    if tokens.truncated_share > _MUCH:
        yield (
            f"Shorten the texts, or put in front what decides the label: of "
            f"{tokens.truncated_share:.0%} a model sees the beginning only."
        )
    if tokens.unknown_share > _MUCH:
        yield (
            "Choose a base that knows the language of the texts: `small` does not know "
            f"{tokens.unknown_share:.0%} of their words."
        )


def _training_time(report: Report, labels: int) -> timedelta:
    """Estimate a run with the default settings on two cores with the base `small`."""
    rows = report.splits.get(Split.TRAIN, 0)
    held_out = sum(report.splits.values()) - rows
    length = _PADDING * _mean_length(report.tokens)
    epochs = min(_MOST_EPOCHS, max(_LEAST_EPOCHS, _EPOCHS_AT_1000 * math.sqrt(1000 / max(1, rows))))
    if rows < _MANY_ROWS_PER_LABEL * labels:
        epochs *= 2
    learning = epochs * rows * length / _LEARNT_PER_SECOND
    if rows < _CROSS_FITTED_BELOW:
        learning *= 1 + _FOLD
    reading = (rows + _PASSES_OVER_HELD_OUT * held_out) * length / _READ_PER_SECOND
    return timedelta(seconds=round(_FIXED_SECONDS + learning + reading))


def _mean_length(tokens: TokenStatistics | None) -> float:
    """Return about how many tokens of a text are read, of the histogram's bins their middles."""
    if tokens is None:
        return 0.0
    least, total, texts = 0, 0.0, 0
    for most, count in tokens.histogram:
        total += count * min(_READ_TOKENS, (least + most) / 2)
        texts += count
        least = most
    return total / texts if texts else 0.0


def _texts(count: int) -> str:
    return "1 text seems" if count == 1 else f"{count} texts seem"


def _short(label: str) -> str:
    return label[:40]
