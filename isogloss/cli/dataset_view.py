"""Datasets as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isogloss import (
    Dataset,
    DatasetDiff,
    DatasetState,
    DatasetUsage,
    Example,
    SplitPreview,
)
from isogloss.cli.report_view import Fact, bars, report_facts, show_facts, show_report
from isogloss.cli.safe import visible
from isogloss.cli.session import Session
from isogloss.cli.words import ago, count, short, size, until

MAX_BARS = 20
"""Labels that are drawn; the rest is counted. 77 bars would push the rows off the screen."""

_STATE_STYLE = {
    DatasetState.READY: "bold green",
    DatasetState.FAILED: "bold red",
    DatasetState.VALIDATING: "yellow",
    DatasetState.UPLOADING: "yellow",
}


def show_dataset(session: Session, dataset: Dataset) -> None:
    """Print all that is known of a dataset."""
    show_facts(session, list(_facts(session, dataset)))
    if dataset.report is not None:
        show_report(session, dataset.report)
    if dataset.error is None:
        return
    if not session.rich:
        session.line("error", dataset.error.message)
        return
    refused = Text.assemble(("Refused: ", "bold red"), visible(dataset.error.message))
    session.out.print(Padding(refused, (1, 0, 0, 0)))
    for violation in dataset.error.violations:
        told = visible(f": {violation.description}")
        session.out.print(Text.assemble("  - ", (violation.field, "bold"), told))


def _facts(session: Session, dataset: Dataset) -> Iterator[Fact | tuple[str, Text]]:
    yield "name", dataset.name
    yield "display_name", dataset.display_name
    yield "state", Text(dataset.state, _STATE_STYLE.get(dataset.state, ""))
    if session.rich:
        yield "created", ago(dataset.create_time)
    if dataset.expire_time is not None:
        yield "expires", until(dataset.expire_time)
    if dataset.parent_dataset:
        yield "appended to", dataset.parent_dataset
    if dataset.state is DatasetState.UPLOADING:
        for split, stored in dataset.uploads.items():
            yield f"{split} file", f"{size(stored)} stored"
    if dataset.report is not None:
        yield from report_facts(dataset.report)


def show_preview(session: Session, splits: Sequence[SplitPreview], *, rows: int = 100) -> None:
    """Print labels as bars and at most so many first rows of each split."""
    if not session.rich:
        session.line("split", "line", "labels", "text")
        for split in splits:
            for example in split.examples[:rows]:
                session.line(split.split, example.line, "|".join(example.labels), example.text)
        session.line()
        session.line("split", "label", "rows")
        for split in splits:
            for label, number in split.labels.items():
                session.line(split.split, label, number)
        return
    for split in splits:
        head = Text.assemble((split.split, "bold"), f"  {count(split.row_count, 'row')}")
        session.out.print(Padding(head, (1, 0, 0, 0)))
        labels = list(split.labels.items())
        drawn = bars("label", "rows", labels[:MAX_BARS], split.row_count)
        session.out.print(Padding(drawn, (0, 0, 0, 2)))
        if (more := len(labels) - MAX_BARS) > 0:
            session.out.print(Text(f"  and {count(more, 'label')} more", "dim"))
        if split.examples[:rows]:
            session.out.print(Padding(_rows(split.examples[:rows]), (1, 0, 0, 2)))


def _rows(examples: Sequence[Example]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("line", justify="right", style="dim", no_wrap=True)
    table.add_column("label", style="cyan", no_wrap=True, max_width=22, overflow="ellipsis")
    table.add_column("text", overflow="fold")
    for example in examples:
        labels = Text(visible(", ".join(example.labels)))
        table.add_row(f"{example.line:,}", labels, Text(short(example.text, 200)))
    return table


def show_diff(session: Session, diff: DatasetDiff) -> None:
    """Print what became of texts and labels."""
    facts = [
        ("added", f"{diff.added_count:,}"),
        ("removed", f"{diff.removed_count:,}"),
        ("relabelled", f"{diff.relabelled_count:,}"),
        ("moved", f"{diff.moved_count:,}"),
        ("unchanged", f"{diff.unchanged_count:,}"),
        ("same content", "yes" if diff.same_content else "no"),
    ]
    show_facts(session, facts)
    changed = [label for label in diff.labels if label.base_count != label.other_count]
    if changed:
        session.table(
            ["label", ">before", ">after", ">change"],
            (
                [
                    change.label,
                    f"{change.base_count:,}" if session.rich else str(change.base_count),
                    f"{change.other_count:,}" if session.rich else str(change.other_count),
                    f"{change.other_count - change.base_count:+d}",
                ]
                for change in changed
            ),
            title="Labels",
        )
    texts = [("added", example, ()) for example in diff.added]
    texts += [("removed", example, ()) for example in diff.removed]
    relabelled = [("relabelled", found.example, found.base_labels) for found in diff.relabelled]
    if not (texts or relabelled):
        return
    session.table(
        ["!what", "!split", ">line", "label", "text"],
        (
            [
                what,
                example.split,
                str(example.line),
                _change(before, example.labels),
                short(example.text, 120) if session.rich else example.text,
            ]
            for what, example, before in [*texts, *relabelled]
        ),
        title="Texts",
    )


def _change(before: Sequence[str], after: Sequence[str]) -> str:
    now = ", ".join(after)
    return f"{', '.join(before)} → {now}" if before else now


def show_usage(session: Session, usage: DatasetUsage) -> None:
    """Print what is stored and what may be."""
    uploads = f"{usage.upload_count:,}"
    stored = size(usage.stored_bytes)
    if usage.max_upload_count:
        uploads += f" of {usage.max_upload_count:,}"
    if usage.max_stored_bytes:
        stored += f" of {size(usage.max_stored_bytes)}"
    facts = [
        ("datasets", f"{usage.dataset_count:,}"),
        ("uploads", uploads),
        ("stored", stored),
        ("rows", f"{usage.row_count:,}"),
    ]
    show_facts(session, facts)
