"""Findings as people read them: where, what, what to do about it, and the text it is about."""

from __future__ import annotations

from collections.abc import Sequence

from rich.padding import Padding
from rich.text import Text

from isogloss import Finding, Split
from isogloss.cli.report_view import SEVERITY_STYLES
from isogloss.cli.safe import visible
from isogloss.cli.session import Session
from isogloss.cli.words import short

_EXCERPT = 74
"""Characters of a text: with its margin one line of a terminal of 80 columns."""


def show_findings(session: Session, findings: Sequence[Finding]) -> None:
    """Print findings: under each other on a terminal, a table where piped."""
    if session.rich:
        for finding in findings:
            _draw(session, finding)
        return
    session.line("split", "line", "severity", "code", "message", "text")
    for finding in findings:
        session.line(
            _split(finding),
            finding.line or "",
            _severity(finding),
            finding.code,
            f"{finding.message} {finding.fix}".strip(),
            finding.excerpt,
        )


def _draw(session: Session, finding: Finding) -> None:
    where = _split(finding) + (f" line {finding.line:,}" if finding.line else "")
    style = SEVERITY_STYLES.get(finding.severity, "")
    parts = [(where, "bold"), (finding.code, "cyan"), (_severity(finding), style)]
    head = Text("  ").join(Text(visible(text), part) for text, part in parts if text)
    session.out.print(head)
    told = visible(f"{finding.message} {finding.fix}".strip())
    session.out.print(Padding(Text(told), (0, 0, 0, 2)))
    if finding.excerpt:
        session.out.print(Text(f"  > {short(finding.excerpt, _EXCERPT)}", "dim"))


def show_errors(session: Session, errors: Sequence[Finding]) -> None:
    """Print why files cannot become a dataset, each with what to do about it."""
    if session.rich and errors:
        session.out.print()
        for error in errors:
            _draw(session, error)
        return
    for error in errors:
        session.line("error", error.code, _split(error), error.line, error.message, error.fix)


def _split(finding: Finding) -> str:
    return "" if finding.split is Split.UNKNOWN else finding.split


def _severity(finding: Finding) -> str:
    return finding.severity.lower().replace("_", " ")
