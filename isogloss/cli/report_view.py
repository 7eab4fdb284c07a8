"""What validation tells, as people read it: how files were read, what they hold, what to mind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from isogloss import (
    DatasetReport,
    FileFormat,
    FileReport,
    LabelMode,
    Quoting,
    Severity,
    SplitRule,
    TokenStatistics,
)
from isogloss.cli.safe import visible
from isogloss.cli.session import Session
from isogloss.cli.words import count, duration, percent, size

BAR_WIDTH = 30
"""Columns of a bar: with its label and its figures it fits 80."""

_UNEVEN = 1.5
"""Imbalance from which on it is worth a line."""

_DELIMITERS = {",": "comma", ";": "semicolon", "|": "pipe", "\t": "tab"}
SEVERITY_STYLES = {
    Severity.ERROR: "bold red",
    Severity.ROW_DROPPED: "red",
    Severity.WARNING: "yellow",
    Severity.INFO: "dim",
}
_OUTCOMES = {
    Severity.ERROR: "refused",
    Severity.ROW_DROPPED: "dropped",
    Severity.WARNING: "kept; mind it",
    Severity.INFO: "kept",
}

Fact = tuple[str, str]


def report_facts(report: DatasetReport) -> Iterator[Fact]:
    """Say in words what a report tells, one thing after another."""
    for file in report.files:
        yield f"{file.split} file", _file(file)
        if file.assumed:
            yield f"{file.split} assumed", ", ".join(file.assumed)
    if not report.files:
        return
    rows = ", ".join(f"{number:,} {split}" for split, number in report.rows.items())
    dropped = f"; {report.dropped_rows:,} dropped" if report.dropped_rows else ""
    yield "rows", (rows or "none") + dropped
    several = ", several per text" if report.label_mode is LabelMode.MULTI else ""
    yield "labels", f"{report.label_count}{several}"
    if report.removed_labels:
        yield "removed labels", ", ".join(report.removed_labels)
    yield from _balance(report)
    if report.tokens is not None:
        yield "tokens", _tokens(report.tokens)
    if report.languages:
        found = (f"{name} {percent(share)}" for name, share in report.languages.items())
        yield "languages", ", ".join(found)
    if report.training_time is not None:
        took = duration(report.training_time.total_seconds())
        yield "training", f"about {took} on 2 CPU cores with the base small"


def _balance(report: DatasetReport) -> Iterator[Fact]:
    if report.imbalance >= _UNEVEN:
        yield "imbalance", f"the most frequent label has {report.imbalance:.1f} x the rarest's rows"
    if report.split is not None:
        yield "split", _rule(report.split)
    for overlap in report.overlaps:
        near = f", {overlap.near:,} nearly" if overlap.near else ""
        both = f"{overlap.first} and {overlap.second}"
        yield "overlap", f"{count(overlap.exact, 'text')} in {both}{near}"


def _file(file: FileReport) -> str:
    kind = file.format if file.format is not FileFormat.UNKNOWN else ""
    parts = [
        size(file.size_bytes),
        count(file.row_count, "row"),
        f"{file.malformed_count:,} malformed" if file.malformed_count else "",
        f"{kind} in {file.compression}" if file.compression else kind,
        file.encoding,
        _DELIMITERS.get(file.delimiter, file.delimiter),
    ]
    if file.delimiter:
        parts += ["with header" if file.has_header else "no header"]
        parts += [f"{file.quoting} quotes"] if file.quoting is Quoting.BACKSLASH else []
        parts += ["quotes are text"] if file.quoting is Quoting.NONE else []
    columns = [("text", file.text_column), ("label", file.label_column)]
    columns += [("kept", ", ".join(file.kept_columns))]
    columns += [("left out", ", ".join(file.ignored_columns))]
    told = ", ".join(f"{what}: {column}" for what, column in columns if column)
    return "; ".join(part for part in (", ".join(filter(None, parts)), told) if part)


def _rule(rule: SplitRule) -> str:
    if rule.column:
        return f"as the column {rule.column} says"
    shares = [("validation", rule.validation_share), ("test", rule.test_share)]
    told = ", ".join(f"{percent(share)} {split}" for split, share in shares if share)
    return f"dealt out: {told}, seed {rule.seed}"


def _tokens(tokens: TokenStatistics) -> str:
    parts = [f"half of the texts up to {tokens.p50}, 95 % up to {tokens.p95}, most {tokens.max}"]
    if tokens.truncated_share:
        parts.append(f"{percent(tokens.truncated_share)} over 512, training sees their beginning")
    if tokens.unknown_share:
        parts.append(f"{percent(tokens.unknown_share)} unknown to the base")
    if tokens.sampled:
        parts.append(f"from a sample of {tokens.counted_texts:,}")
    return "; ".join(parts)


def show_facts(session: Session, facts: Sequence[Fact | tuple[str, Text]]) -> None:
    """Print facts under each other: aligned on a terminal, tab-separated where piped."""
    if not session.rich:
        for name, fact in facts:
            session.line(name, fact)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in facts:
        grid.add_row(name, fact if isinstance(fact, Text) else Text(visible(fact)))
    session.out.print(grid)


def show_report(session: Session, report: DatasetReport) -> None:
    """Print what facts do not tell: lengths as bars, counts of findings, warnings, advice."""
    if not session.rich:
        _plain_report(session, report)
        return
    if report.tokens is not None and report.tokens.histogram:
        session.out.print(Padding(_histogram(report.tokens), (1, 0, 0, 0)))
    if report.findings:
        session.out.print(Padding(_findings(report), (1, 0, 0, 0)))
    if report.warnings or report.advice:
        session.out.print()
    for warning in report.warnings:
        _bullet(session, ("! ", "bold yellow"), warning)
    for advice in report.advice:
        _bullet(session, ("+ ", "bold cyan"), advice)


def _plain_report(session: Session, report: DatasetReport) -> None:
    for bin_ in report.tokens.histogram if report.tokens else ():
        session.line(f"tokens up to {bin_.max_tokens}", bin_.text_count)
    for found in report.findings:
        session.line(f"finding {found.code}", found.count)
    for warning in report.warnings:
        session.line("warning", warning)
    for advice in report.advice:
        session.line("advice", advice)


def _bullet(session: Session, sign: tuple[str, str], text: str) -> None:
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(*sign), Text(visible(text)))
    session.out.print(grid)


def _histogram(tokens: TokenStatistics) -> Table:
    drawn, least = [], 1
    for bin_ in tokens.histogram:
        drawn.append((f"{least}-{bin_.max_tokens}", bin_.text_count))
        least = bin_.max_tokens + 1
    while drawn and not drawn[-1][1]:
        drawn.pop()
    return bars("tokens", "texts", drawn, sum(number for _, number in drawn))


def bars(label: str, unit: str, numbers: Sequence[tuple[str, int]], whole: int) -> Table:
    """Draw numbers as bars, with their share of the whole, of which they may be a part."""
    largest = max((number for _, number in numbers), default=1) or 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(label, no_wrap=True, max_width=26, overflow="ellipsis")
    table.add_column("", width=BAR_WIDTH)
    table.add_column(unit, justify="right", no_wrap=True)
    table.add_column("share", justify="right", style="dim", no_wrap=True)
    for name, number in numbers:
        bar = ProgressBar(
            total=largest,
            completed=number,
            width=BAR_WIDTH,
            complete_style="cyan",
            finished_style="cyan",
        )
        table.add_row(Text(visible(name)), bar, f"{number:,}", percent(number / max(whole, 1)))
    return table


def _findings(report: DatasetReport) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("finding", no_wrap=True)
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column("rows were", no_wrap=True)
    for found in report.findings:
        style = SEVERITY_STYLES.get(found.severity, "")
        outcome = _OUTCOMES.get(found.severity, "")
        table.add_row(Text(found.code), f"{found.count:,}", Text(outcome, style))
    return table
