"""What a dataset or a model holds, into a file, and from there into rows and tables."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol, cast

from isogloss.api.streams import broken, delays, pause
from isogloss.dataset_options import FileFormat
from isogloss.dataset_report import Split
from isogloss.datasets import DownloadProgress, Example
from isogloss.errors import IsoglossError, Unavailable
from isogloss.transport import Transport

_ENDINGS = {
    ".csv": FileFormat.CSV,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".parquet": FileFormat.PARQUET,
}


class Piece(Protocol):
    """A message of a stream that sends a file."""

    @property
    def data(self) -> bytes:
        """The next bytes."""

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole file, where the message tells."""


Replies = Callable[[], AsyncIterator[Piece]]


def format_of(to: Path, given: FileFormat | str | None) -> FileFormat | str:
    """Choose how rows are written: as given, or by the file's ending, or Parquet."""
    return given or _ENDINGS.get(to.suffix.lower(), FileFormat.PARQUET)


async def save(
    transport: Transport,
    replies: Replies,
    to: Path,
    progress: Callable[[DownloadProgress], None] | None,
) -> None:
    """Write what a stream sends into a file, which is there only when it is whole.

    A stream that breaks is begun anew.

    Raises:
        IsoglossError: The service refused, or the connection broke too often.
        OSError: The file cannot be written.
    """
    to = await transport.work(_file, to)
    partial = to.with_name(f"{to.name}.partial")
    waits = delays()
    try:
        while True:
            try:
                await _receive(transport, replies, partial, progress)
                break
            except IsoglossError as error:
                if not (broken(error) or error.retry_after is not None):
                    raise
                wait = pause(error, waits)
            await transport.sleep(wait)
        await transport.work(partial.replace, to)
    finally:
        partial.unlink(missing_ok=True)


def _file(to: Path) -> Path:
    """Return what `to` leads to: a file takes its place, which must not befall /dev/null."""
    if to.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(to))
    if to.exists() and not to.is_file():
        raise OSError(errno.EINVAL, "is a device or a pipe: name a file", str(to))
    target = to.resolve()
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(to.parent))
    return target


async def _receive(
    transport: Transport,
    replies: Replies,
    partial: Path,
    progress: Callable[[DownloadProgress], None] | None,
) -> None:
    received = total = 0
    with partial.open("wb") as file:
        async with aclosing(cast("Any", replies())) as stream:
            async for reply in stream:
                await transport.work(file.write, reply.data)
                received += len(reply.data)
                total = reply.size_bytes or total
                if progress is not None:
                    progress(DownloadProgress(received_bytes=received, total_bytes=total))
    if total and received != total:
        raise Unavailable(f"Only {received} of {total} bytes came.")


def read_rows(path: Path, split: Split) -> Iterator[Example]:
    """Read rows that were downloaded as JSON lines."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            cells = json.loads(line)
            text, labels = cells.pop("text"), cells.pop("labels")
            yield Example(
                text=text,
                labels=(labels,) if isinstance(labels, str) else tuple(labels),
                split=split,
                line=0,
                row=0,
                columns=cells,
            )
