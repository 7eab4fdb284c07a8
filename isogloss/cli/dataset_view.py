"""Datasets as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from isogloss import Dataset, DatasetReport, DatasetState, FileReport, Severity, SplitPreview
from isogloss.cli.session import Session
from isogloss.cli.words import ago, count, percent, short, size

MAX_BARS = 20
"""Labels that are drawn; the rest is counted. 77 bars would push the rows off the screen."""

_STATE_STYLE = {
    DatasetState.READY: "bold green",
    DatasetState.FAILED: "bold red",
    DatasetState.VALIDATING: "yellow",
    DatasetState.UPLOADING: "yellow",
}
_DELIMITERS = {",": "comma", ";": "semicolon", "|": "pipe", "\t": "tab"}


def show_dataset(session: Session, dataset: Dataset) -> None:
    """Print all that is known of a dataset."""
    if not session.rich:
        _show_plain(session, dataset)
        return
    session.out.print(_facts(dataset))
    if dataset.report is not None:
        for warning in dataset.report.warnings:
            session.out.print(Text.assemble(("! ", "bold yellow"), warning))
    if dataset.error is not None:
        session.out.print(Text.assemble(("Refused: ", "bold red"), dataset.error.message))
        for violation in dataset.error.violations:
            session.out.print(
                Text.assemble("  - ", (violation.field, "bold"), f": {violation.description}")
            )


def _facts(dataset: Dataset) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("dataset", Text(dataset.name, "bold"))
    facts.add_row("display name", Text(dataset.display_name))
    facts.add_row("state", Text(dataset.state, _STATE_STYLE.get(dataset.state, "")))
    facts.add_row("created", ago(dataset.create_time))
    if dataset.state is DatasetState.UPLOADING:
        for split, stored in dataset.uploads.items():
            facts.add_row(f"{split} file", f"{size(stored)} stored")
    if (report := dataset.report) is not None:
        for file in report.files:
            facts.add_row(f"{file.split} file", Text(_file(file)))
        rows = ", ".join(f"{number:,} {split}" for split, number in report.rows.items())
        facts.add_row("rows", rows or "none")
        facts.add_row("labels", str(report.label_count))
        if report.removed_labels:
            facts.add_row("removed labels", Text(", ".join(report.removed_labels)))
        if report.findings:
            facts.add_row("findings", _findings(report))
    return facts


def _findings(report: DatasetReport) -> Text:
    return Text(
        ", ".join(
            f"{found.count:,} {found.code}"
            + (" (dropped)" if found.severity is Severity.ROW_DROPPED else "")
            for found in report.findings
        )
    )


def _file(file: FileReport) -> str:
    header = "with header" if file.has_header else "no header"
    delimiter = _DELIMITERS.get(file.delimiter, file.delimiter)
    return (
        f"{size(file.size_bytes)}, {count(file.row_count, 'row')}, {file.encoding}, {delimiter}, "
        f"{header}; text: {file.text_column}, label: {file.label_column}"
    )


def _show_plain(session: Session, dataset: Dataset) -> None:
    session.line("name", dataset.name)
    session.line("display_name", dataset.display_name)
    session.line("state", dataset.state)
    report = dataset.report
    if report is not None:
        for file in report.files:
            session.line(f"file {file.split}", _file(file))
        for split, number in report.rows.items():
            session.line(f"rows {split}", number)
        session.line("labels", report.label_count)
        for label in report.removed_labels:
            session.line("removed_label", label)
        for found in report.findings:
            session.line(f"finding {found.code}", found.count)
        for warning in report.warnings:
            session.line("warning", warning)
    if dataset.error is not None:
        session.line("error", dataset.error.message)


def show_preview(session: Session, splits: Sequence[SplitPreview]) -> None:
    """Print labels as bars and the first rows of each split."""
    if not session.rich:
        session.line("split", "line", "labels", "text")
        for split in splits:
            for example in split.examples:
                session.line(split.split, example.line, "|".join(example.labels), example.text)
        session.line()
        session.line("split", "label", "rows")
        for split in splits:
            for label, number in split.labels.items():
                session.line(split.split, label, number)
        return
    for split in splits:
        head = Text.assemble((split.split, "bold"), f"  {count(split.row_count, 'row')}")
        session.out.print(head)
        session.out.print(Padding(_bars(split), (0, 0, 0, 2)))
        rows = Table.grid(padding=(0, 2))
        rows.add_column(justify="right", style="dim", no_wrap=True)
        rows.add_column(style="cyan", no_wrap=True)
        rows.add_column(overflow="fold")
        for example in split.examples:
            labels = short(", ".join(example.labels), 30)
            rows.add_row(f"line {example.line}", Text(labels), Text(short(example.text, 200)))
        session.out.print(Padding(rows, (0, 0, 1, 2)))


def _bars(split: SplitPreview) -> Table:
    largest = max(split.labels.values(), default=1)
    total = max(sum(split.labels.values()), 1)
    bars = Table.grid(padding=(0, 2))
    bars.add_column(no_wrap=True, max_width=30, overflow="ellipsis")
    bars.add_column()
    bars.add_column(justify="right", no_wrap=True)
    bars.add_column(justify="right", style="dim", no_wrap=True)
    for label, number in list(split.labels.items())[:MAX_BARS]:
        bar = ProgressBar(
            total=largest, completed=number, width=30, complete_style="cyan", finished_style="cyan"
        )
        bars.add_row(Text(label), bar, f"{number:,}", percent(number / total))
    if (more := len(split.labels) - MAX_BARS) > 0:
        bars.add_row(Text(f"and {count(more, 'label')} more", "dim"), "", "", "")
    return bars
