"""A run as it is watched: a live table on a terminal, a line for each event elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from isogloss import LogLine, Model, ModelState, ModelUpdate, StateChange, StepMetrics
from isogloss.cli.session import Session
from isogloss.cli.words import duration

MODEL_STYLE = {
    ModelState.QUEUED: "yellow",
    ModelState.TRAINING: "cyan",
    ModelState.EXPORTING: "cyan",
    ModelState.READY: "bold green",
    ModelState.FAILED: "bold red",
    ModelState.CANCELLED: "bold yellow",
    ModelState.PAUSED: "yellow",
}

_BARS = "▁▂▃▄▅▆▇█"

_AT_WORK = (ModelState.TRAINING, ModelState.EXPORTING)

_ROOM_BESIDE_METRICS = 11
"""Lines of the screen that are not metrics: header, bar, curves, log line, prompt, some air."""

_LEAST_METRICS = 5


class TrainingView(Protocol):
    """Takes what happens to a model."""

    def update(self, update: ModelUpdate) -> None:
        """Show it."""


class _Documents:
    """A JSON document on one line for each update."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def update(self, update: ModelUpdate) -> None:
        self._session.document(update, line=True)


class _Lines:
    """A line for each event, and for each tenth of the run."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tenth = 0
        self._place = 0

    def update(self, update: ModelUpdate) -> None:
        detail = update.event.detail if update.event else None
        match detail:
            case StateChange():
                reason = f": {detail.reason}" if detail.reason else ""
                self._line(f"{detail.state.lower()}{reason}")
            case StepMetrics():
                note = "  (untrained baseline)" if detail.step == 0 else ""
                self._line(
                    f"step {detail.step}  epoch {detail.epoch:.2f}  loss {detail.loss:.4f}  "
                    f"accuracy {detail.accuracy:.4f}  precision {detail.precision:.4f}  "
                    f"recall {detail.recall:.4f}  f1 {detail.f1:.4f}{note}"
                )
            case LogLine():
                self._line(f"{detail.level}: {detail.message}")
            case None if update.model.queue_position not in {0, self._place}:
                self._place = update.model.queue_position
                self._line(f"place {self._place} in the queue")
            case None if (progress := update.model.progress) is not None:
                tenth = int(progress.fraction * 10)
                if tenth > self._tenth:
                    self._tenth = tenth
                    eta = f", {duration(progress.eta)} left" if progress.eta is not None else ""
                    self._line(f"{10 * tenth} % done{eta}")

    def _line(self, text: str) -> None:
        self._session.out.print(Text(text), soft_wrap=True)


class _Screen:
    """A bar above a table that grows with each measurement."""

    def __init__(self, live: Live, height: int) -> None:
        self._live = live
        self._room = max(height - _ROOM_BESIDE_METRICS, _LEAST_METRICS)
        self._metrics: list[StepMetrics] = []
        self._log = Text()
        self._spinner = Spinner("dots")

    def update(self, update: ModelUpdate) -> None:
        detail = update.event.detail if update.event else None
        if isinstance(detail, StepMetrics):
            # A run that is tried again begins anew.
            self._metrics = [m for m in self._metrics if m.step < detail.step] + [detail]
        elif isinstance(detail, LogLine):
            self._log = Text(f"{detail.level}: {detail.message}", "dim")
        self._live.update(self._drawn(update.model), refresh=self._live.is_started)
        # Not before there is something to draw: what fails at once leaves no empty line.
        self._live.start()

    def _drawn(self, model: Model) -> RenderableType:
        # The spinner shows that somebody is there while a first model waits for its base.
        headline = _headline(model)
        parts: list[RenderableType] = [headline if model.state.final else self._spinner]
        self._spinner.update(text=headline)
        if model.progress is not None and model.state in _AT_WORK:
            parts.append(_bar(model))
        if len(self._metrics) > 1:
            parts.append(_curves(self._metrics))
        if self._metrics:
            parts.append(metrics_table(self._metrics, most=self._room))
        if self._log and not model.state.final:
            self._log.no_wrap = True
            self._log.overflow = "ellipsis"
            parts.append(self._log)
        return Group(*parts)


def _headline(model: Model) -> Text:
    line = Text.assemble(
        (model.name, "bold"), "  ", (model.state, MODEL_STYLE.get(model.state, ""))
    )
    if model.queue_position:
        line.append(f"  place {model.queue_position} in the queue", "yellow")
    if model.state_reason:
        line.append(f"  {model.state_reason}", "dim")
    if model.attempt > 1:
        line.append(f"  attempt {model.attempt}", "yellow")
    return line


def _curves(metrics: list[StepMetrics]) -> Text:
    """Draw how loss and accuracy went, from the untrained baseline on."""
    first, last = metrics[0], metrics[-1]
    return Text.assemble(
        ("loss ", "dim"),
        sparkline([measured.loss for measured in metrics]),
        f" {first.loss:.3f} to {last.loss:.3f}",
        ("   accuracy ", "dim"),
        (sparkline([measured.accuracy for measured in metrics]), "green"),
        f" {first.accuracy:.3f} to {last.accuracy:.3f}",
    )


def sparkline(numbers: list[float]) -> str:
    """Draw numbers as bars a character wide, the least as the lowest."""
    least, most = min(numbers), max(numbers)
    steps = len(_BARS) - 1
    heights = (0.5 if least == most else (number - least) / (most - least) for number in numbers)
    return "".join(_BARS[round(steps * height)] for height in heights)


def _bar(model: Model) -> Table:
    progress = model.progress
    assert progress is not None  # noqa: S101 (the caller looked)
    grid = Table.grid(padding=(0, 2))
    left = f"{duration(progress.eta)} left" if progress.eta is not None else ""
    grid.add_row(
        ProgressBar(total=1.0, completed=progress.fraction, width=30),
        f"{100 * progress.fraction:.0f} %",
        f"step {progress.step} of {progress.total_steps}",
        f"epoch {progress.epoch:.1f} of {progress.total_epochs:g}",
        Text(left, "dim"),
    )
    return grid


def metrics_table(metrics: list[StepMetrics], *, most: int) -> Table:
    """Draw measurements: the untrained baseline first, the best accuracy marked.

    Fits 80 columns; `train` is the training loss.

    Args:
        metrics: By step; of more than `most` the ones after the baseline are left out.
        most: Rows that fit.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("step", "epoch", "loss", "accuracy", "precision", "recall", "F1", "train"):
        table.add_column(column, justify="right", header_style="bold", no_wrap=True)
    table.add_column("", style="dim", no_wrap=True)
    best = max(measured.accuracy for measured in metrics)
    shown = metrics if len(metrics) <= most else [metrics[0], *metrics[len(metrics) - most + 1 :]]
    left_out = len(metrics) - len(shown)
    for number, measured in enumerate(shown):
        note = "untrained" if measured.step == 0 else ""
        if number == 1 and left_out:
            note = f"{left_out} left out"
        table.add_row(
            str(measured.step),
            f"{measured.epoch:.2f}",
            f"{measured.loss:.4f}",
            Text(f"{measured.accuracy:.4f}", "green" if measured.accuracy == best else ""),
            f"{measured.precision:.4f}",
            f"{measured.recall:.4f}",
            f"{measured.f1:.4f}",
            "" if measured.train_loss is None else f"{measured.train_loss:.4f}",
            note,
            style="yellow" if measured.step == 0 else "",
        )
    return table


@contextmanager
def training_view(session: Session) -> Iterator[TrainingView]:
    """Show a run as it goes, on standard output."""
    if session.json:
        yield _Documents(session)
    elif session.rich:
        live = Live(console=session.out, refresh_per_second=8, vertical_overflow="crop")
        try:
            yield _Screen(live, session.out.height)
        finally:
            live.stop()
    else:
        yield _Lines(session)
