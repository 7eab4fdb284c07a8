"""An evaluation as people read it: headline, advice, then labels, confusions and confidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from isogloss import ClassificationMetrics, Evaluation, Improvement, Interval
from isogloss.cli.confusion_view import bar, gap, show_confusions
from isogloss.cli.session import Session
from isogloss.cli.words import count, percent, short

MAX_LABELS = 20
_SHOWN_THRESHOLDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)
_ROUNDS_TO_NOTHING = 0.00005


def show_evaluation(session: Session, evaluation: Evaluation) -> None:
    """Print the headline numbers, what could be done, each label, and what was taken for what."""
    after = evaluation.metrics
    if session.rich:
        averaged = (
            f"of {evaluation.positive_label}" if evaluation.positive_label else "mean over labels"
        )
        rows = count(evaluation.row_count, f"{evaluation.split} row")
        session.out.print(
            Text.assemble(
                (evaluation.name, "bold"), f"  on {rows} of {evaluation.dataset}, {averaged}"
            )
        )
    _headline(session, evaluation)
    if session.rich:
        for remark in _remarks(evaluation):
            session.out.print(remark)
    gap(session)
    _labels(session, evaluation)
    if after.confusion:
        gap(session)
        show_confusions(session, after)
    if session.rich:
        _confidence(session, after)


def show_examples(session: Session, evaluation: Evaluation) -> None:
    """Print the worst errors, and the training rows whose label is probably wrong."""
    if evaluation.texts_removed:
        session.note("The dataset was purged, and the texts with it.")
    if evaluation.worst_errors:
        gap(session)
        session.table(
            [">row", "true label", "predicted", ">confidence", "text"],
            (
                [
                    str(error.row),
                    ", ".join(error.labels),
                    ", ".join(error.predicted),
                    f"{error.confidence:.2f}",
                    _excerpt(session, error.text),
                ]
                for error in evaluation.worst_errors
            ),
            title=f"Wrong with the greatest confidence ({evaluation.split} rows)",
        )
    if evaluation.suspicious_labels:
        gap(session)
        session.table(
            [">row", "label", "suggested", ">probability", "text"],
            (
                [
                    str(suspicion.row),
                    ", ".join(suspicion.labels),
                    ", ".join(suspicion.suggested),
                    f"{suspicion.confidence:.3f}",
                    _excerpt(session, suspicion.text),
                ]
                for suspicion in evaluation.suspicious_labels
            ),
            title=f"Probably labelled wrong ({evaluation.suspicious_label_count} of "
            f"{evaluation.examined_row_count} train rows; the most suspicious)",
        )


def in_words(gain: Improvement) -> str:
    """Say what one model has over another."""
    change = gain.accuracy
    return (
        f"{100 * change.value:+.1f} points of accuracy ({100 * change.low:+.1f} to "
        f"{100 * change.high:+.1f}, p = {gain.accuracy_p_value:.3g}): {gain.gained:,} rows gained, "
        f"{gain.lost:,} lost"
    )


def _headline(session: Session, evaluation: Evaluation) -> None:
    """Print the figures beside those of the untrained model, where there are any."""
    columns = ["metric"]
    models = [evaluation.metrics]
    agreement = [evaluation.neighbor_agreement]
    if evaluation.baseline is not None:
        columns.append(">baseline")
        models.insert(0, evaluation.baseline)
        agreement.insert(0, evaluation.baseline_neighbor_agreement)
    if evaluation.nearest_neighbors is not None and session.rich:
        columns.insert(1, ">neighbours")
        models.insert(0, evaluation.nearest_neighbors)
    columns += [">fine-tuned", ">change"] if evaluation.baseline is not None else [">value"]
    rows = [
        _figures(name, [getattr(model, field) for model in models], less_is_better=less)
        for name, field, less in (
            ("accuracy", "accuracy", False),
            ("precision", "precision", False),
            ("recall", "recall", False),
            ("F1", "f1", False),
            ("log loss", "log_loss", True),
        )
    ]
    blank = [""] * (len(models) - len(agreement))
    last = _figures("nearest neighbour agrees", agreement, less_is_better=False)
    rows.append([last[0], *blank, *last[1:]])
    if session.rich:
        columns.append("19 times of 20")
        intervals = [
            evaluation.metrics.accuracy_interval,
            None,
            None,
            evaluation.metrics.f1_interval,
        ]
        for row, interval in zip(rows, [*intervals, None, None], strict=True):
            row.append(_span(interval))
    session.table(columns, rows)


def _remarks(evaluation: Evaluation) -> Iterator[Text]:
    """Say what the figures beside it mean, and what could be done."""
    if evaluation.improvement is not None:
        yield Text(f"over untrained: {in_words(evaluation.improvement)}", "dim")
    if evaluation.improvement_over_neighbors is not None:
        gain = in_words(evaluation.improvement_over_neighbors)
        yield Text(f"over nearest neighbours: {gain}", "dim")
    for line in _embedding(evaluation):
        yield Text(line, "dim")
    if evaluation.unknown_labels:
        named = ", ".join(short(label, 40) for label in list(evaluation.unknown_labels)[:5])
        left_out = count(evaluation.unknown_label_row_count, "row")
        yield Text(f"not scored: {left_out} of unknown labels: {named}", "yellow")
    for advice in evaluation.advice:
        yield Text.assemble(("• ", "cyan"), advice.message)


def _embedding(evaluation: Evaluation) -> Iterator[str]:
    """Say what became of the embedding, and what rows teach."""
    before, after = evaluation.baseline_geometry, evaluation.geometry
    if before is not None and after is not None:
        line = (
            "embedding: five neighbours vote right for "
            f"{percent(before.neighbor_accuracy)} → {percent(after.neighbor_accuracy)} of the rows"
        )
        if before.silhouette is not None and after.silhouette is not None:
            line += f", silhouette {before.silhouette:.2f} → {after.silhouette:.2f}"
        if evaluation.retention is not None:
            line += f"; {evaluation.retention:.2f} of its order on other sentences is left"
        yield line
    if evaluation.cuts:
        told = ", ".join(f"{cut.dimension}: {percent(cut.accuracy)}" for cut in evaluation.cuts)
        yield f"from the first numbers of the embedding alone: {told}"
    if evaluation.learning_curve is not None:
        points = evaluation.learning_curve.points
        told = ", ".join(f"{point.row_count:,}: {percent(point.accuracy)}" for point in points)
        yield f"a simple classifier by training rows: {told}"


def _figures(name: str, values: Sequence[float], *, less_is_better: bool) -> list[str | Text]:
    cells: list[str | Text] = [name, *(f"{value:.4f}" for value in values)]
    if len(values) > 1:
        change = values[-1] - values[-2]
        cells.append(Text(f"{change:+.4f}", _style(-change if less_is_better else change)))
    return cells


def _span(interval: Interval | None) -> Text:
    return Text("" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}", "dim")


def _style(change: float) -> str:
    return "" if abs(change) < _ROUNDS_TO_NOTHING else ("green" if change > 0 else "red")


def _labels(session: Session, evaluation: Evaluation) -> None:
    """Print one line a label: on a terminal the worst first, with a bar."""
    labels, before = evaluation.metrics.labels, evaluation.baseline
    old = {label.label: label.f1 for label in before.labels} if before is not None else {}
    shown = labels
    if session.rich:
        shown = tuple(sorted(labels, key=lambda label: label.f1))[:MAX_LABELS]
    columns = ["label", ">rows", ">precision", ">recall", ">F1"]
    columns += [">baseline F1", ">change"] if before is not None else []
    rows = []
    for label in shown:
        cells: list[str | Text] = [
            short(label.label, 40),
            f"{label.support:,}" if session.rich else str(label.support),
            f"{label.precision:.4f}",
            f"{label.recall:.4f}",
            f"{label.f1:.4f}",
        ]
        if before is not None:
            cells += _against(label.f1, old.get(label.label))
        if session.rich:
            cells.append(Text(bar(label.f1), "cyan"))
        rows.append(cells)
    session.table(columns + (["!"] if session.rich else []), rows)
    if (more := len(labels) - len(shown)) > 0:
        session.note(f"and {count(more, 'label')} that did better: --json has all.")


def _against(new: float, old: float | None) -> tuple[str, Text]:
    if old is None:
        return "", Text("")
    return f"{old:.4f}", Text(f"{new - old:+.4f}", _style(new - old))


def _confidence(session: Session, metrics: ClassificationMetrics) -> None:
    """Print how far confidence is from truth, and what leaving unsure rows alone would bring."""
    found = metrics.calibration
    if found is not None:
        gap(session)
        verdict = "within chance" if found.error <= found.noise_limit else "more than chance"
        session.out.print(
            Text.assemble(
                "Confidence is off by ",
                (percent(found.error), "bold"),
                f" on average; up to {percent(found.noise_limit)} is chance: {verdict}.",
            )
        )
        session.table(
            [">rows", ">confidence", ">right", "!"],
            (
                [
                    f"{part.count:,}",
                    percent(part.confidence),
                    percent(part.accuracy),
                    Text(bar(part.accuracy), "cyan"),
                ]
                for part in found.bins
            ),
        )
    shown = [
        point
        for point in metrics.coverage
        if any(abs(point.threshold - wanted) < _ROUNDS_TO_NOTHING for wanted in _SHOWN_THRESHOLDS)
    ]
    if shown:
        gap(session)
        session.table(
            [">answer from", ">rows answered", ">of them right"],
            (
                [f"{point.threshold:.2f}", percent(point.coverage), percent(point.accuracy)]
                for point in shown
            ),
        )


def _excerpt(session: Session, text: str) -> str:
    return short(text, 120) if session.rich else text
