"""An evaluation as people read it: the untrained baseline beside the fine-tuned model."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from isogloss import ClassificationMetrics, Evaluation
from isogloss.cli.session import Session
from isogloss.cli.words import count, short

MATRIX_LABELS = 12
"""Up to here a matrix fits on a screen; beyond, the largest confusions are listed."""

MAX_CONFUSIONS = 15
MAX_LABELS = 40


def show_evaluation(session: Session, evaluation: Evaluation) -> None:
    """Print the headline numbers, each label, and what was taken for what."""
    before, after = evaluation.baseline, evaluation.metrics
    averaged = (
        f"of {evaluation.positive_label}" if evaluation.positive_label else "mean over labels"
    )
    if session.rich:
        session.out.print(
            Text.assemble(
                (evaluation.name, "bold"),
                f"  on {count(evaluation.row_count, f'{evaluation.split} row')}, {averaged}",
            )
        )
    session.table(
        ["metric", ">baseline", ">fine-tuned", ">change"],
        [
            _compared("accuracy", before.accuracy, after.accuracy),
            _compared("precision", before.precision, after.precision),
            _compared("recall", before.recall, after.recall),
            _compared("F1", before.f1, after.f1),
            _compared("log loss", before.log_loss, after.log_loss, less_is_better=True),
            _compared(
                "nearest neighbour agrees",
                evaluation.baseline_neighbor_agreement,
                evaluation.neighbor_agreement,
            ),
        ],
    )
    _gap(session)
    _labels(session, before, after)
    if after.confusion:
        _gap(session)
        if session.rich and len(after.labels) <= MATRIX_LABELS:
            _matrix(session, after)
        else:
            _confusions(session, after)


def _gap(session: Session) -> None:
    session.line() if not session.rich else session.out.print()


def _compared(
    name: str, before: float, after: float, *, less_is_better: bool = False
) -> tuple[str, str, str, Text]:
    change = after - before
    better = change < 0 if less_is_better else change > 0
    style = "" if abs(change) < 0.00005 else ("green" if better else "red")  # noqa: PLR2004 (rounds to nothing)
    return name, f"{before:.4f}", f"{after:.4f}", Text(f"{change:+.4f}", style)


def _labels(session: Session, before: ClassificationMetrics, after: ClassificationMetrics) -> None:
    baseline = {label.label: label for label in before.labels}
    shown = after.labels if not session.rich else after.labels[:MAX_LABELS]
    rows = []
    for label in shown:
        old = baseline.get(label.label)
        change = label.f1 - old.f1 if old else 0.0
        style = "" if not old or abs(change) < 0.00005 else ("green" if change > 0 else "red")  # noqa: PLR2004 (rounds to nothing)
        rows.append(
            [
                short(label.label, 40),
                f"{label.support:,}" if session.rich else str(label.support),
                f"{label.precision:.4f}",
                f"{label.recall:.4f}",
                f"{label.f1:.4f}",
                f"{old.f1:.4f}" if old else "",
                Text(f"{change:+.4f}" if old else "", style),
            ]
        )
    session.table(
        ["label", ">rows", ">precision", ">recall", ">F1", ">baseline F1", ">change"], rows
    )
    if (more := len(after.labels) - len(shown)) > 0:
        session.note(f"and {count(more, 'label')} more: --json has all.")


def _matrix(session: Session, metrics: ClassificationMetrics) -> None:
    names = [label.label for label in metrics.labels]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True, max_width=24, overflow="ellipsis", style="bold")
    for name in names:
        table.add_column(short(name, 12), justify="right", header_style="bold", no_wrap=True)
    for actual in names:
        cells = []
        for predicted in names:
            number = metrics.confusion.get((actual, predicted), 0)
            right = actual == predicted
            style = "dim" if not number else ("green" if right else "red")
            cells.append(Text(str(number or "·"), style))
        table.add_row(Text(actual), *cells)
    session.out.print(Text("rows: true label, columns: predicted", "dim"))
    session.out.print(table)


def _confusions(session: Session, metrics: ClassificationMetrics) -> None:
    wrong = [(pair, number) for pair, number in metrics.confusion.items() if pair[0] != pair[1]]
    shown = wrong[:MAX_CONFUSIONS] if session.rich else wrong
    session.table(
        [">rows", "true label", "predicted"],
        ([str(number), actual, predicted] for (actual, predicted), number in shown),
    )
