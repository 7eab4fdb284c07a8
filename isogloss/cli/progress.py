"""How far an upload, or a long list of texts, is: a bar on a terminal, a few lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from isogloss import (
    Aborted,
    Dataset,
    DatasetState,
    DeadlineExceeded,
    DownloadProgress,
    ResourceExhausted,
    Unavailable,
    UploadProgress,
)
from isogloss.cli.session import Session
from isogloss.cli.words import percent, size

LINE_SECONDS = 5.0
"""Time between lines where no terminal is watched."""

BAR_WIDTH = 20
"""Columns: phase, bytes, rate and time beside it fit 80."""

SENDING = "uploading "
"""How the phases begin in which bytes are sent."""

MANY_TEXTS = 256
"""From here on a bar is worth its place: two calls and more."""


def _bytes_bar(session: Session) -> Progress:
    """Make a bar for bytes, with their rate and the time that is left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=BAR_WIDTH),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=session.err,
        transient=True,
    )


class _View(Protocol):
    def update(self, progress: UploadProgress) -> None: ...

    def stop(self) -> None: ...


class _Bars:
    """A bar for the bytes with their rate, then one for the validation."""

    def __init__(self, session: Session) -> None:
        self._sending = _bytes_bar(session)
        self._checking = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=BAR_WIDTH),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=session.err,
            transient=True,
        )
        self._shown: Progress | None = None
        self._task = TaskID(0)

    def update(self, progress: UploadProgress) -> None:
        sending = progress.phase.startswith(SENDING)
        wanted = self._sending if sending else self._checking
        if self._shown is not wanted:
            self.stop()
            self._shown = wanted
            total = float(progress.total_bytes) if sending else 1.0 if progress.dataset else None
            self._task = wanted.add_task("", total=total)
            wanted.start()
        done = float(progress.sent_bytes) if sending else progress.validated
        wanted.update(self._task, description=progress.phase, completed=done)

    def stop(self) -> None:
        if self._shown is not None:
            self._shown.stop()


class _Lines:
    """A line for each new phase, and every few seconds."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._phase = ""
        self._next = 0.0

    def update(self, progress: UploadProgress) -> None:
        now = time.monotonic()
        if progress.phase == self._phase and now < self._next:
            return
        self._phase, self._next = progress.phase, now + LINE_SECONDS
        if progress.phase.startswith(SENDING):
            done = f": {size(progress.sent_bytes)} of {size(progress.total_bytes)}"
        else:
            known = progress.dataset and progress.validated < 1.0
            done = f": {percent(progress.validated)}" if known else ""
        self._session.note(f"{progress.phase}{done}")

    def stop(self) -> None:
        pass


@contextmanager
def upload_progress(session: Session) -> Iterator[Callable[[UploadProgress], None]]:
    """Show how far an upload is, on standard error; where it breaks off, say how to go on."""
    drawn = session.err.is_terminal and session.chatty
    view: _View = _Bars(session) if drawn else _Lines(session)
    last: UploadProgress | None = None

    def update(progress: UploadProgress) -> None:
        nonlocal last
        last = progress
        view.update(progress)

    try:
        yield update
    except (KeyboardInterrupt, Aborted, Unavailable, DeadlineExceeded, ResourceExhausted):
        view.stop()
        if last is None or not last.dataset:
            raise
        if last.phase.startswith(SENDING):
            session.note(
                f"What was sent is kept. Go on: the same command with --resume {last.dataset}"
            )
        else:
            session.note(f"Validation goes on: isogloss datasets show {last.dataset}")
        raise
    finally:
        view.stop()


@contextmanager
def import_progress(session: Session) -> Iterator[Callable[[Dataset], None]]:
    """Show how far an import is; where it is left, say how to follow it."""
    lines = _Lines(session)
    last: Dataset | None = None

    def update(dataset: Dataset) -> None:
        nonlocal last
        last = dataset
        found = dataset.validation_progress
        importing = dataset.state is DatasetState.UPLOADING
        stored = sum(dataset.uploads.values())
        lines.update(
            UploadProgress(
                dataset=dataset.name,
                phase=f"importing, {size(stored)} so far"
                if importing
                else (found.phase if found else dataset.state.lower()),
                sent_bytes=stored,
                total_bytes=0,
                validated=found.fraction if found else 1.0,
            )
        )

    try:
        yield update
    except (KeyboardInterrupt, Unavailable, DeadlineExceeded):
        if last is not None:
            session.note(f"The import goes on: isogloss datasets show {last.name}")
        raise


@contextmanager
def download_progress(session: Session) -> Iterator[Callable[[DownloadProgress], None] | None]:
    """Show how many bytes came, on a terminal."""
    if not (session.err.is_terminal and session.chatty):
        yield None
        return
    with _bytes_bar(session) as bar:
        task = bar.add_task("downloading", total=None)
        yield lambda progress: bar.update(
            task, completed=progress.received_bytes, total=progress.total_bytes or None
        )


@contextmanager
def sending_progress(session: Session, file: Path) -> Iterator[Callable[[int], None] | None]:
    """Show how many bytes of a file were sent, on a terminal."""
    if not (session.err.is_terminal and session.chatty):
        yield None
        return
    with _bytes_bar(session) as bar:
        task = bar.add_task("sending", total=file.stat().st_size)
        yield lambda sent: bar.update(task, completed=sent)


@contextmanager
def text_progress(session: Session, total: int) -> Iterator[Callable[[int], None] | None]:
    """Show how many texts are done, where there are enough to wait for and a terminal."""
    if not (session.err.is_terminal and session.chatty and total > MANY_TEXTS):
        yield None
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=BAR_WIDTH),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=session.err,
        transient=True,
    ) as progress:
        task = progress.add_task("texts", total=total)
        yield lambda done: progress.update(task, completed=done)
