"""What was taken for what, as people read it: a matrix of few labels, a list of many."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from isogloss import ClassificationMetrics
from isogloss.cli.session import Session
from isogloss.cli.words import short

MATRIX_LABELS = 12
"""Up to here a matrix fits on a screen; beyond, the largest confusions are listed."""

MAX_CONFUSIONS = 15
_BAR = 20
_BLOCKS = " ▏▎▍▌▋▊▉█"
_SHADES = ("grey11", "grey19", "grey27", "grey39", "grey54")


def show_confusions(session: Session, metrics: ClassificationMetrics) -> None:
    """Print a heat table of few labels, else the largest confusions; piped, all of them."""
    if session.rich and len(metrics.labels) <= MATRIX_LABELS:
        _matrix(session, metrics)
    else:
        _confusions(session, metrics)


def confusion_rows(metrics: ClassificationMetrics) -> Iterator[list[str]]:
    """Give a confusion matrix as rows of a file: a head, then a row for each true label."""
    names = [label.label for label in metrics.labels]
    yield ["true label", *names]
    for actual in names:
        cells = (metrics.confusion.get((actual, predicted), 0) for predicted in names)
        yield [actual, *map(str, cells)]


def bar(share: float, width: int = _BAR) -> str:
    """Draw a share of 1."""
    eighths = round(max(0.0, min(share, 1.0)) * width * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_BLOCKS[rest] if rest else "")).ljust(width)


def gap(session: Session) -> None:
    """Print an empty line."""
    session.line() if not session.rich else session.out.print()


def _matrix(session: Session, metrics: ClassificationMetrics) -> None:
    names = [label.label for label in metrics.labels]
    wrong = [number for pair, number in metrics.confusion.items() if pair[0] != pair[1]]
    most = max(wrong, default=1)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True, max_width=24, overflow="ellipsis", style="bold")
    for name in names:
        table.add_column(short(name, 12), justify="right", header_style="bold", no_wrap=True)
    for actual in names:
        cells = []
        for predicted in names:
            number = metrics.confusion.get((actual, predicted), 0)
            style = "dim" if not number else "green"
            if number and actual != predicted:
                shade = _SHADES[min(len(_SHADES) - 1, number * len(_SHADES) // (most + 1))]
                style = f"red on {shade}"
            cells.append(Text(str(number or "·"), style))
        table.add_row(Text(actual), *cells)
    session.out.print(Text("rows: true label, columns: predicted", "dim"))
    session.out.print(table)


def _confusions(session: Session, metrics: ClassificationMetrics) -> None:
    wrong = [(pair, number) for pair, number in metrics.confusion.items() if pair[0] != pair[1]]
    if not session.rich:
        session.table(
            [">rows", "true label", "predicted"],
            ([str(number), actual, predicted] for (actual, predicted), number in wrong),
        )
        return
    support = {label.label: label.support for label in metrics.labels}
    session.table(
        [">rows", "true label", "predicted", "of its rows"],
        (
            [
                str(number),
                short(actual, 40),
                short(predicted, 40),
                Text(bar(number / max(support[actual], 1), 10), "red"),
            ]
            for (actual, predicted), number in wrong[:MAX_CONFUSIONS]
        ),
    )
